"""Transfer of a source tower's parameters into this project's towers: layers stacked by stage, every shape checked."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError
from svilm_jax.config import GroupingConfig, ModelConfig, VideoConfig, nearest
from svilm_jax.interop.importers.pixels import convert_normalization
from svilm_jax.interop.importers.source import TextSource, VideoSource
from svilm_jax.models.patch_embedding import token_grid
from svilm_jax.models.positions import resample_positions

INFLATIONS = ("center", "mean")
CLASS_TOKENS = ("drop", "group")

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class FilledVideo:
    """Parameters of a video tower from a source, under the names of the whole model.

    Attributes:
      arrays: name -> array.
      class_token: [D], the first row of the group tokens; None if all of them are randomly initialized.
      lacking: names of parameters that the source does not have.
      dropped: source array -> why it is not used.
      invented: name -> why its values are not from the source.
    """

    arrays: Arrays
    class_token: np.ndarray | None
    lacking: tuple[str, ...]
    dropped: dict[str, str]
    invented: dict[str, str]


def fill_text(source: TextSource) -> Arrays:
    """Returns the parameters of the text tower under the names of the whole model."""
    layers = source.architecture.num_layers
    return {f"text_tower.{name}": array for name, array in stacked(source.converted.arrays, range(layers)).items()}


def fill_video(
    source: VideoSource, config: ModelConfig, inflate: str = "center", class_token: str = "drop"
) -> FilledVideo:
    """Returns the parameters of the video tower.

    Args:
      source: source tower.
      config: config of the model, with the architecture of the source.
      inflate: how the patches of images become tubelets: `center`, which see only the middle frame, or `mean`, which
        see the mean of all frames. For equal frames, both give the token that the image gives.
      class_token: `dropped`, or `group`: the first group token.

    Raises:
      ModelDirectoryError: other patches, positions or tokens than the config has; both sides are listed.
    """
    _check_choice("inflate", inflate, INFLATIONS)
    _check_choice("class_token", class_token, CLASS_TOKENS)
    _check_patches(source, config.video)
    arrays = source.converted.arrays
    stages = stage_layers(config.grouping, source.architecture.num_layers)
    positions, notes = _positions(source, config.video)
    kernel, bias = convert_normalization(arrays["patch.kernel"], arrays["patch.bias"], source.pixels)
    kernel = _inflated(kernel, config.video.tubelet_size[0], inflate)
    made = {
        "patch_embedding.linear.kernel": kernel.reshape(-1, kernel.shape[-1]),  # [t*p*p*3, D]
        "patch_embedding.linear.bias": bias,
        **positions,
    }
    norms = [f"{name}.{part}" for name in ("token_norm", "group_norm") for part in ("scale", "bias")]
    with_norm = "norm.scale" in arrays
    if with_norm:
        made |= {name: arrays[f"norm.{name.rpartition('.')[2]}"] for name in norms}
    of_layers = {name: array for name, array in arrays.items() if name.startswith("layers.")}
    for stage, layers in stages.items():
        made |= stacked(of_layers, layers, f"stages.{stage}.")
    first, why = _class_token(source, config.grouping, class_token)
    return FilledVideo(
        arrays={f"video_tower.{name}": array for name, array in made.items()},
        class_token=first,
        lacking=() if with_norm else tuple(f"video_tower.{name}" for name in norms),
        dropped=source.converted.dropped | why,
        invented={f"video_tower.{name}": why for name, why in (_notes_of_layers(source, stages) | notes).items()},
    )


def stage_layers(grouping: GroupingConfig, layers: int) -> dict[str, range]:
    """Returns the source layers of each stage of the video tower, as `VideoTower` divides them."""
    bounds = [0, *grouping.after_layers]
    bounds += [layers] if bounds[-1] < layers else []
    return {f"stage{n}": range(*ends) for n, ends in enumerate(itertools.pairwise(bounds), start=1)}


def stacked(arrays: Mapping[str, np.ndarray], layers: Iterable[int], prefix: str = "") -> Arrays:
    """Stacks `layers.{i}.NAME` of some layers as `PREFIXlayers.stacked.NAME` [count, ...]; other arrays are unchanged.

    Raises:
      ModelDirectoryError: layers of different shapes.
    """
    made = {name: array for name, array in arrays.items() if not name.startswith("layers.")}
    numbers = list(layers)
    parts = sorted({name.split(".", 2)[2] for name in arrays if name.startswith("layers.")})
    for part in parts:
        several = [arrays[f"layers.{i}.{part}"] for i in numbers]
        shapes = sorted({array.shape for array in several})
        if len(shapes) > 1:
            raise ModelDirectoryError(
                f"the source has {part}: {', '.join(map(str, shapes))}, which differ between its layers"
            )
        made[f"{prefix}layers.stacked.{part}"] = np.stack(several)
    return made


def check_filled(
    filled: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
    towers: Iterable[str],
    lacking: Iterable[str] = (),
) -> None:
    """Rejects parameters that do not match the model.

    Args:
      filled: name -> array from the sources.
      expected: name -> shape of every parameter of the model.
      towers: name prefixes that must be filled completely, except for parameters that are `is_fresh`.
      lacking: names that the sources do not have.

    Raises:
      ModelDirectoryError: names or shapes that differ; both sides are listed.
    """
    wrong = [f"{name} {filled[name].shape}: not in the model" for name in sorted(filled.keys() - expected.keys())]
    wrong += [
        f"{name}: {filled[name].shape} in the source, {shape} in the model"
        for name, shape in expected.items()
        if name in filled and filled[name].shape != shape
    ]
    wrong += [
        f"{name} {shape}: not in the source"
        for name, shape in expected.items()
        if name not in filled and name.startswith(tuple(towers)) and not is_fresh(name) and name not in lacking
    ]
    if wrong:
        differences = "; ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise ModelDirectoryError(f"the source does not match the model: {differences}")


def is_fresh(name: str) -> bool:
    """Returns whether no public tower has this parameter: group tokens and their layers."""
    return name.startswith("video_tower.") and (".grouping." in name or name.startswith("video_tower.group_"))


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ModelDirectoryError(f"{key}={value!r}: expected one of {choices}{nearest(value, choices)}")


def _check_patches(source: VideoSource, config: VideoConfig) -> None:
    """Rejects patches that do not match the model's tubelets."""
    channels = source.converted.arrays["patch.kernel"].shape[3]
    if channels != 3:
        raise ModelDirectoryError(f"{source.origin}: its pixels have {channels} channels, and a clip has 3")
    if config.stem:
        raise ModelDirectoryError(
            f"config.model.video.stem={config.stem}: {source.origin} has one linear map of a patch and no "
            "convolutions; set config.model.video.stem to ()"
        )
    t, height, width = source.tubelet
    if source.of_images:
        if config.tubelet_size[1:] != (height, width):
            raise ModelDirectoryError(
                f"config.model.video.tubelet_size={config.tubelet_size}: the patches of {source.origin} are "
                f"{height}x{width}; set config.model.video.tubelet_size to {(config.tubelet_size[0], height, width)}"
            )
    elif config.tubelet_size != source.tubelet:
        raise ModelDirectoryError(
            f"config.model.video.tubelet_size={config.tubelet_size}: the tubelets of {source.origin} are "
            f"{t}x{height}x{width} (frames, height, width); set config.model.video.tubelet_size to {source.tubelet}"
        )


def _inflated(kernel: np.ndarray, frames: int, inflate: str) -> np.ndarray:
    """Inflates [1, p, p, 3, D] of images -> [t, p, p, 3, D]; a kernel of tubelets is unchanged."""
    if len(kernel) == frames:
        return kernel
    if inflate == "mean":
        return np.repeat(kernel / frames, frames, axis=0)
    whole = np.zeros((frames, *kernel.shape[1:]), kernel.dtype)
    whole[frames // 2] = kernel[0]
    return whole


def _positions(source: VideoSource, config: VideoConfig) -> tuple[Arrays, dict[str, str]]:
    """Returns the position tables for the config's grid, and notes on values that are not in the source."""
    grid = times, rows, columns = token_grid(config)
    table, before, note = _source_positions(source, grid)
    if not source.of_images:
        resampled = "" if before == grid else f"resampled from {_times(before)} to {_times(grid)}"
        return {"joint_position": _resampled(table, before, grid)}, _notes("joint_position", note, resampled)
    place = before[1:], (rows, columns)
    of_space = _resampled(table, *place)  # [Ns, D]
    resampled = "" if place[0] == place[1] else f"resampled from {_times(place[0])} to {_times(place[1])}"
    if config.position_table == "joint":
        repeated = "those of one image for every temporal index"
        return {"joint_position": np.tile(of_space, (times, 1))}, _notes("joint_position", note, resampled, repeated)
    no_time = np.zeros((times, of_space.shape[1]), np.float32)
    notes = _notes("space_position", note, resampled)
    notes |= _notes("time_position", "zeros: the source is an image model without temporal positions")
    return {"space_position": of_space, "time_position": no_time}, notes


def _source_positions(source: VideoSource, grid: tuple[int, int, int]) -> tuple[np.ndarray, tuple[int, int, int], str]:
    """Returns a table [n, D], its grid, and a note on what the source does not state."""
    if source.computed is not None:
        table = source.computed(*grid[1:])
        return table, (1, *grid[1:]), "sines and cosines, which the source computes and does not store"
    table = source.converted.arrays["positions"]
    note = source.converted.invented.get("positions", "")
    before = source.grid
    if before is None:
        before = _default_grid(len(table), source, grid)
        note = f"the file does not state the grid of its {len(table)} positions: assumed to be {_times(before)}"
    if len(table) != np.prod(before):
        raise ModelDirectoryError(f"{source.origin}: {len(table)} positions, but a grid of {_times(before)} tokens")
    return table, before, note


def _default_grid(positions: int, source: VideoSource, grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """Returns the grid of a table that does not state it.

    It is the config's if the number of positions fits, else that of 224x224 pixels, on which the public ViViTs were
    trained.
    """
    if np.prod(grid) == positions:
        return grid
    _, height, width = source.tubelet
    rows, columns = 224 // height, 224 // width
    if rows * columns == 0 or positions % (rows * columns):
        raise ModelDirectoryError(
            f"{source.origin}: does not state the grid of its {positions} positions, which are neither the "
            f"{_times(grid)} tokens of config.model.video nor those of clips of 224x224 pixels; set "
            "config.model.video.num_frames and config.model.video.image_size to the values of its training"
        )
    return positions // (rows * columns), rows, columns


def _resampled(table: np.ndarray, before: tuple[int, ...], after: tuple[int, ...]) -> np.ndarray:
    return np.asarray(resample_positions(jnp.asarray(table), before, after))


def _class_token(
    source: VideoSource, grouping: GroupingConfig, choice: str
) -> tuple[np.ndarray | None, dict[str, str]]:
    """Returns the class token if it becomes a group token, else why its arrays are dropped."""
    if choice == "drop":
        names = [name for name, targets in source.converted.used.items() if targets == "class_token"]
        return None, dict.fromkeys(names, 'group tokens take its place; class_token="group" makes it the first')
    if "class_token" not in source.converted.arrays:
        raise ModelDirectoryError(f'class_token="group": {source.origin} has no class token; take "drop"')
    if not grouping.in_layers:
        raise ModelDirectoryError(
            'class_token="group" with config.model.grouping.in_layers=False: a class token is in every layer; set '
            'config.model.grouping.in_layers to True, or take class_token="drop"'
        )
    return source.converted.arrays["class_token"], {}


def _notes_of_layers(source: VideoSource, stages: Mapping[str, range]) -> dict[str, str]:
    """Returns the notes on layers from the source's conversion, under the names of their stages."""
    notes = {}
    for name, why in source.converted.invented.items():
        if name.startswith("layers."):
            _, number, part = name.split(".", 2)
            stage = next(stage for stage, layers in stages.items() if int(number) in layers)
            notes[f"stages.{stage}.layers.stacked.{part}"] = why
    return notes


def _notes(name: str, *notes: str) -> dict[str, str]:
    """Returns one note, or none if it is empty."""
    text = "; ".join(filter(None, notes))
    return {name: text} if text else {}


def _times(numbers: Iterable[int]) -> str:
    return "x".join(map(str, numbers))
