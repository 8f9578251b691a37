"""Implementations of `svilm import`, `svilm export` and `svilm embed`."""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from svilm_jax import load
from svilm_jax.config import ConfigError, HeadConfig
from svilm_jax.config.constraints import Range, check_number
from svilm_jax.config_file import USED_BY_IMPORT, check_overrides_hold, check_overrides_used, read_config
from svilm_jax.evaluation import format_table
from svilm_jax.inference import TrainedModel
from svilm_jax.interop.folder import FolderError, Origin, check_free, is_model_folder, read_origin, write_folder
from svilm_jax.interop.importing import Imported, import_towers
from svilm_jax.interop.model_card import model_card
from svilm_jax.interop.precision import rounding_error
from svilm_jax.interop.reading import read_text_source, read_video_source
from svilm_jax.locks import locked_output
from svilm_jax.models.parameters import fingerprint, parameters
from svilm_jax.models.svilm import build_model
from svilm_jax.output_paths import check_output_file, check_output_folder


def import_weights(args: argparse.Namespace, overrides: list[str]) -> int:
    """A model of a config whose towers are public ones, as a folder to start from."""
    if args.text is None and args.video is None:
        raise FolderError("name what to import: --text FOLDER, --video FOLDER or FILE, or both")
    for option, value in (("--inflate", args.inflate), ("--class-token", args.class_token)):
        if value is not None and args.video is None:
            raise ConfigError(f"{option} is about a video tower: give --video, or leave it out")
    check_output_folder(args.out)
    check_free(args.out)
    with locked_output(args.out):
        return _import_weights(args, overrides)


def _import_weights(args: argparse.Namespace, overrides: list[str]) -> int:
    config = read_config(args.config, overrides)
    check_overrides_used(overrides, config, USED_BY_IMPORT, "import")
    text = read_text_source(args.text) if args.text else None
    video = read_video_source(args.video) if args.video else None
    imported = import_towers(
        config, text, video, inflate=args.inflate or "centre", class_token=args.class_token or "dropped"
    )
    check_overrides_hold(overrides, config, imported.trained.config, "the imported weights decide it")
    sources = [str(Path(path).name) for path in (args.text, args.video) if path]
    origin = Origin(f"weights of {' and '.join(sources)}, all else fresh", args.license)
    card = model_card(args.out.name, imported.trained.config, origin, "", "float32", fresh=len(imported.fresh))
    write_folder(args.out, imported.trained, origin, card)
    _tell(imported)
    print(f"{args.out}: start from it with --config.init.checkpoint={args.out}")
    return 0


def export(args: argparse.Namespace) -> int:
    """A checkpoint as a folder that needs nothing of training, and programs of its towers where asked for."""
    if args.dtype != "float32" and (args.onnx or args.saved_model):
        raise ConfigError(f"--dtype={args.dtype}: ONNX and SavedModel are written in float32 alone; export twice")
    check_output_folder(args.out)
    check_free(args.out)
    with locked_output(args.out):
        return _export(args)


def _export(args: argparse.Namespace) -> int:
    trained = load(args.workdir)
    origin, notes = _origin(args, trained), []
    if args.dtype != "float32":
        error = rounding_error(trained, args.dtype)
        notes.append(
            f"Rounded to {args.dtype}: on random inputs no number of an embedding moves by more than "
            f"{error.largest:.1e}, and the lowest cosine to the unrounded one is {error.cosine:.6f}."
        )
        if args.stablehlo:
            notes.append(f"The StableHLO programs compute in {args.dtype}, too, which costs more than that.")
    metrics = format_table(origin.metrics) if origin.metrics else ""
    card = model_card(args.out.name, trained.config, origin, metrics, args.dtype, notes, len(trained.fresh))
    # Programs first: what stops them (a missing library, a model too large) leaves nothing half done.
    with tempfile.TemporaryDirectory(dir=args.out.absolute().parent, prefix=f".{args.out.name}.") as staging:
        told = list(_programs(args, trained, Path(staging)))
        write_folder(args.out, trained, origin, card, args.dtype)
        for made in sorted(Path(staging).iterdir()):
            made.rename(args.out / made.name)
    for line in (*notes, *told):
        print(line)
    if trained.warning:
        print(f"{args.out}: {trained.warning}", file=sys.stderr)
    print(f'{args.out}: svilm_jax.load("{args.out}")')
    return 0


def _programs(args: argparse.Namespace, trained: TrainedModel, staging: Path) -> Iterator[str]:
    """Writes the programs that are asked for; yields what to tell of them."""
    if args.stablehlo:
        from svilm_jax.interop.stablehlo import export_stablehlo

        for file in export_stablehlo(trained, staging / "stablehlo", args.dtype):
            if file.suffix == ".stablehlo":
                yield f"{args.out / file.relative_to(staging)}: {file.stat().st_size / 2**20:.1f} MiB"
    if args.onnx:
        from svilm_jax.interop.onnx import export_onnx

        for name, difference in export_onnx(trained, staging / "onnx").items():
            yield f"{args.out / 'onnx' / name}: onnxruntime differs by {difference:.1e} at most"
    if args.saved_model:
        from svilm_jax.interop.saved_model import export_saved_model

        for name, difference in export_saved_model(trained, staging / "saved_model").items():
            yield f"{args.out / 'saved_model'}: signature {name} differs by {difference:.1e} at most"


def _origin(args: argparse.Namespace, trained: TrainedModel) -> Origin:
    """Where the model comes from: what its folder says, or its run; the flags have the last word."""
    if is_model_folder(args.workdir):
        origin = read_origin(args.workdir)
    else:
        from svilm_jax.report.page import read_metrics  # late: it draws, and not every environment can

        source = f"step {trained.step} of {args.workdir.name}"
        data = Path(trained.config.input.dataset).name  # a path would tell of this machine
        origin = Origin(source, "", data, read_metrics(args.workdir / "metrics.json"))
    changes = {"license": args.license, "data": args.data}
    return dataclasses.replace(origin, **{key: value for key, value in changes.items() if value})


def embed(args: argparse.Namespace) -> int:
    """Embeds files for search; or the windows of a dataset for localization."""
    for name in ("window", "stride"):
        if (seconds := getattr(args, name)) is not None:
            check_number(f"--{name}", seconds, Range(0, 1e6, low_included=False))
    if args.offset is not None:
        check_number("--offset", args.offset, Range(0, 1e6))
    if args.videos:
        check_output_file(args.out)
        if args.split or args.dataset or args.random or args.pool is not None or args.offset is not None:
            names = "--split, --dataset, --random, --pool and --offset"
            raise ConfigError(f"{names} go with a dataset: name that, or files, not both")
        return _embed_files(args)
    if not args.split:
        raise ConfigError("nothing to embed: name video files or folders, or the --split of a dataset")
    if args.window is None:
        raise ConfigError("a dataset is embedded by windows: give --window SECONDS")
    if args.prune:
        raise ConfigError("--prune removes rows of files: it does not go with a dataset")
    check_output_folder(args.out)
    # Late: what reads datasets is not where a model is only exported (requirements/onnx.in).
    from svilm_jax.evaluation.window_features import Windows, embed_windows
    from svilm_jax.inference.encoding import Encoder
    from svilm_jax.input.targets import read_classes

    trained = load(args.model)
    model, origin = trained.model, f"{args.model.name} step {trained.step}"
    if args.random:
        model = build_model(trained.config, trained.tokenizer.vocab_size, trained.config.train.seed + 1)
        origin = f"fresh parameters of {args.model.name}'s config"
    origin += f", {fingerprint(parameters(model))}"  # two runs may have one name and as many steps
    dataset = args.dataset or trained.config.input.dataset
    labels = read_classes(dataset, HeadConfig("classification"))
    windows = Windows(args.window, args.window if args.stride is None else args.stride, args.offset or 0.0)
    encoder = Encoder(model, trained.config, trained.tokenizer)
    index = embed_windows(encoder, dataset, args.split, labels, windows, args.out, origin, args.pool or "clip")
    print(f"{args.out}: {len(index.videos)} videos, features of width {index.width}")
    return 0


def _embed_files(args: argparse.Namespace) -> int:
    from svilm_jax.inference.embedding import embed_files

    model = load(args.model)
    if model.warning:
        print(f"{args.model}: {model.warning}", file=sys.stderr)
    stride = args.window if args.stride is None else args.stride  # side by side unless said otherwise
    print(embed_files(model, args.model, args.videos, args.out, args.window, stride, args.prune))
    return 0


def _tell(imported: Imported) -> None:
    for line in imported.changed:
        print(line)
    if imported.pixels:
        print(imported.pixels)
    print(f"{len(imported.filled)} parameters filled, {len(imported.fresh)} fresh:")
    for title, names in (("filled", imported.filled), ("fresh", imported.fresh)):
        for name in names:
            print(f"  {title} {name}")
    for name, why in imported.dropped.items():
        print(f"  dropped {name}: {why}")
    for name, why in imported.invented.items():
        print(f"  made up {name}: {why}")
