"""The `svilm import` command: initializes the towers of a config from public weights."""

import argparse
from pathlib import Path

from svilm_jax.checkpoints.model_directory import ModelDirectoryError, ModelOrigin, check_free, write_model_directory
from svilm_jax.cli.arguments import CONFIG
from svilm_jax.cli.arguments import OVERRIDES as OVERRIDES_HELP
from svilm_jax.cli.config_file import USED_BY_IMPORT, check_overrides_hold, check_overrides_used, read_config
from svilm_jax.config import ConfigError
from svilm_jax.filesystem.locks import locked_output
from svilm_jax.filesystem.output_paths import check_output_folder
from svilm_jax.interop.exporters.model_card import model_card
from svilm_jax.interop.importers.importing import Imported, import_towers
from svilm_jax.interop.importers.reading import read_text_source, read_video_source

OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm import`."""
    parser.epilog = (
        f"{OVERRIDES_HELP}. example: svilm import --text all-MiniLM-L6-v2 --config=pretrain/demo --out minilm"
    )
    parser.add_argument(
        "--text", type=Path, metavar="DIR", help="Hugging Face checkpoint directory of a BERT, with its vocabulary"
    )
    parser.add_argument(
        "--video",
        type=Path,
        metavar="PATH",
        help="Hugging Face checkpoint directory of a ViT, VideoMAE or ViViT; *.npz of a big_vision ViT; scenic's ViViT",
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE[:ARG]",
        help=f"{CONFIG}; its architecture applies where the weights do not determine it",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output, for config.init.checkpoint")
    parser.add_argument(
        "--inflate",
        choices=("center", "mean"),
        help="inflation of an image patch to a tubelet: in its central frame, or averaged over all (default: center)",
    )
    parser.add_argument(
        "--class-token",
        choices=("drop", "group"),
        help="class token of the source: dropped, or initial value of the first group token (default: drop)",
    )
    parser.add_argument("--license", default="", help="license of the weights for the model card, such as apache-2.0")


def run(args: argparse.Namespace) -> None:
    """Writes a model directory with imported towers; everything else is newly initialized."""
    if args.text is None and args.video is None:
        raise ModelDirectoryError("nothing to import: give --text DIR, --video PATH, or both")
    for option, value in (("--inflate", args.inflate), ("--class-token", args.class_token)):
        if value is not None and args.video is None:
            raise ConfigError(f"{option} applies to a video tower: give --video, or leave it out")
    check_output_folder(args.out)
    check_free(args.out)
    with locked_output(args.out):
        _import(args)


def _import(args: argparse.Namespace) -> None:
    config = read_config(args.config, args.overrides)
    check_overrides_used(args.overrides, config, USED_BY_IMPORT, "import")
    text = read_text_source(args.text) if args.text else None
    video = read_video_source(args.video) if args.video else None
    imported = import_towers(
        config, text, video, inflate=args.inflate or "center", class_token=args.class_token or "drop"
    )
    check_overrides_hold(args.overrides, config, imported.trained.config, "the imported weights determine it")
    sources = [str(Path(path).name) for path in (args.text, args.video) if path]
    origin = ModelOrigin(f"weights of {' and '.join(sources)}, other parameters newly initialized", args.license)
    card = model_card(args.out.name, imported.trained.config, origin, "", "float32", fresh=len(imported.fresh))
    write_model_directory(args.out, imported.trained, origin, card)
    _print_summary(imported)
    print(f"{args.out}: start from it with --config.init.checkpoint={args.out}")


def _print_summary(imported: Imported) -> None:
    for line in imported.changed:
        print(line)
    if imported.pixels:
        print(imported.pixels)
    print(f"{len(imported.filled)} parameters mapped, {len(imported.fresh)} newly initialized:")
    for title, names in (("mapped", imported.filled), ("newly initialized", imported.fresh)):
        for name in names:
            print(f"  {title} {name}")
    for name, reason in imported.dropped.items():
        print(f"  skipped {name}: {reason}")
    for name, reason in imported.invented.items():
        print(f"  synthesized {name}: {reason}")
