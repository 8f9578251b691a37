"""Transfer of a source tower's parameters into this project's towers: layers stacked by stage, every shape checked."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np

from svilm_jax.config import GroupingConfig, ModelConfig, VideoConfig, nearest
from svilm_jax.interop.folder import FolderError
from svilm_jax.interop.pixels import take_our_pixels
from svilm_jax.interop.source import TextSource, VideoSource
from svilm_jax.models.patch_embedding import token_grid
from svilm_jax.models.positions import resample_positions

INFLATIONS = ("centre", "mean")
CLASS_TOKENS = ("dropped", "group")

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class FilledVideo:
    """What a source gives to a video tower, under the names of the whole model.

    Attributes:
      arrays: name -> array.
      class_token: [D], the first row of the group tokens; None where they all stay fresh.
      lacking: names of the tower that the source has nothing for.
      dropped: array of the source -> why it is not used.
      invented: name -> why it holds what the source does not have.
    """

    arrays: Arrays
    class_token: np.ndarray | None
    lacking: tuple[str, ...]
    dropped: dict[str, str]
    invented: dict[str, str]


def fill_text(source: TextSource) -> Arrays:
    """Parameters of the text tower under the names of the whole model."""
    layers = source.architecture.layers
    return {f"text_tower.{name}": array for name, array in stacked(source.converted.arrays, range(layers)).items()}


def fill_video(
    source: VideoSource, config: ModelConfig, inflate: str = "centre", class_token: str = "dropped"
) -> FilledVideo:
    """Parameters of the video tower.

    Args:
      config: of the model, which has the architecture of the source.
      inflate: how the patches of images become tubelets: `centre`, which see the middle frame alone, or `mean`, which
        see the mean of all. Where frames are equal, either gives the token that the image gives.
      class_token: `dropped`, or `group`: the first group token.

    Raises:
      FolderError: other patches, positions or tokens than the config has; both sides are listed.
    """
    _check_choice("inflate", inflate, INFLATIONS)
    _check_choice("class_token", class_token, CLASS_TOKENS)
    _check_patches(source, config.video)
    arrays = source.converted.arrays
    stages = stage_layers(config.grouping, source.architecture.layers)
    positions, notes = _positions(source, config.video)
    kernel, bias = take_our_pixels(arrays["patch.kernel"], arrays["patch.bias"], source.pixels)
    kernel = _inflated(kernel, config.video.tubelet[0], inflate)
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
    """Which layers of a source each stage of the video tower takes, as `VideoTower` divides them."""
    bounds = [0, *grouping.after_layers]
    bounds += [layers] if bounds[-1] < layers else []
    return {f"stage{n}": range(*ends) for n, ends in enumerate(itertools.pairwise(bounds), start=1)}


def stacked(arrays: Mapping[str, np.ndarray], layers: Iterable[int], prefix: str = "") -> Arrays:
    """`layers.{i}.NAME` of some layers as `PREFIXlayers.stacked.NAME` [count, ...]; what is of no layer as it is.

    Raises:
      FolderError: layers of different shapes.
    """
    made = {name: array for name, array in arrays.items() if not name.startswith("layers.")}
    numbers = list(layers)
    parts = sorted({name.split(".", 2)[2] for name in arrays if name.startswith("layers.")})
    for part in parts:
        several = [arrays[f"layers.{i}.{part}"] for i in numbers]
        shapes = sorted({array.shape for array in several})
        if len(shapes) > 1:
            raise FolderError(f"the source has {part}: {', '.join(map(str, shapes))}, not the same in its layers")
        made[f"{prefix}layers.stacked.{part}"] = np.stack(several)
    return made


def check_filled(
    filled: Mapping[str, np.ndarray],
    wanted: Mapping[str, tuple[int, ...]],
    towers: Iterable[str],
    lacking: Iterable[str] = (),
) -> None:
    """Refuses to fill a model whose towers are others.

    Args:
      filled: name -> array from the sources.
      wanted: name -> shape of every parameter of the model.
      towers: starts of the names that have to be filled whole, but for what `is_fresh`.
      lacking: names that the sources say they have nothing for.

    Raises:
      FolderError: names or shapes that differ; both sides are listed.
    """
    wrong = [f"{name} {filled[name].shape}: not in the model" for name in sorted(filled.keys() - wanted.keys())]
    wrong += [
        f"{name}: {filled[name].shape} in the source, {shape} in the model"
        for name, shape in wanted.items()
        if name in filled and filled[name].shape != shape
    ]
    wrong += [
        f"{name} {shape}: not in the source"
        for name, shape in wanted.items()
        if name not in filled and name.startswith(tuple(towers)) and not is_fresh(name) and name not in lacking
    ]
    if wrong:
        told = "; ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise FolderError(f"the source does not fit the model: {told}")


def is_fresh(name: str) -> bool:
    """Whether a parameter is one that no public tower has: group tokens and what works on them."""
    return name.startswith("video_tower.") and (".grouping." in name or name.startswith("video_tower.group_"))


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise FolderError(f"{key}={value!r}: expected one of {choices}{nearest(value, choices)}")


def _check_patches(source: VideoSource, config: VideoConfig) -> None:
    """Refuses patches that the model does not cut."""
    channels = source.converted.arrays["patch.kernel"].shape[3]
    if channels != 3:
        raise FolderError(f"{source.origin}: its pixels have {channels} channels, and a clip has 3")
    if config.stem:
        raise FolderError(
            f"config.model.video.stem={config.stem}: {source.origin} has one linear map of a patch and no "
            "convolutions; set config.model.video.stem to ()"
        )
    t, height, width = source.tubelet
    if source.of_images:
        if config.tubelet[1:] != (height, width):
            raise FolderError(
                f"config.model.video.tubelet={config.tubelet}: the patches of {source.origin} are {height}x{width}; "
                f"set config.model.video.tubelet to {(config.tubelet[0], height, width)}"
            )
    elif config.tubelet != source.tubelet:
        raise FolderError(
            f"config.model.video.tubelet={config.tubelet}: the tubelets of {source.origin} are {t}x{height}x{width} "
            f"(frames, height, width); set config.model.video.tubelet to {source.tubelet}"
        )


def _inflated(kernel: np.ndarray, frames: int, inflate: str) -> np.ndarray:
    """[1, p, p, 3, D] of images -> [t, p, p, 3, D]; a kernel of tubelets as it is."""
    if len(kernel) == frames:
        return kernel
    if inflate == "mean":
        return np.repeat(kernel / frames, frames, axis=0)
    whole = np.zeros((frames, *kernel.shape[1:]), kernel.dtype)
    whole[frames // 2] = kernel[0]
    return whole


def _positions(source: VideoSource, config: VideoConfig) -> tuple[Arrays, dict[str, str]]:
    """The tables of positions for the config's grid, and what they hold that the source does not say."""
    grid = times, rows, columns = token_grid(config)
    table, before, note = _source_positions(source, grid)
    if not source.of_images:
        resampled = "" if before == grid else f"resampled from {_times(before)} to {_times(grid)}"
        return {"joint_position": _resampled(table, before, grid)}, _notes("joint_position", note, resampled)
    place = before[1:], (rows, columns)
    of_space = _resampled(table, *place)  # [Ns, D]
    resampled = "" if place[0] == place[1] else f"resampled from {_times(place[0])} to {_times(place[1])}"
    if config.position_table == "joint":
        repeated = "those of one image for every time index"
        return {"joint_position": np.tile(of_space, (times, 1))}, _notes("joint_position", note, resampled, repeated)
    no_time = np.zeros((times, of_space.shape[1]), np.float32)
    notes = _notes("space_position", note, resampled)
    notes |= _notes("time_position", "zeros: the source is of images and knows no time")
    return {"space_position": of_space, "time_position": no_time}, notes


def _source_positions(source: VideoSource, grid: tuple[int, int, int]) -> tuple[np.ndarray, tuple[int, int, int], str]:
    """A table [n, D], its grid, and what the source does not say of them."""
    if source.computed is not None:
        table = source.computed(*grid[1:])
        return table, (1, *grid[1:]), "sines and cosines, which the source computes and does not store"
    table = source.converted.arrays["positions"]
    note = source.converted.invented.get("positions", "")
    before = source.grid
    if before is None:
        before = _guessed_grid(len(table), source, grid)
        note = f"the file does not say the grid of its {len(table)} positions: taken as {_times(before)}"
    if len(table) != np.prod(before):
        raise FolderError(f"{source.origin}: {len(table)} positions, but a grid of {_times(before)} tokens")
    return table, before, note


def _guessed_grid(positions: int, source: VideoSource, grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """The grid of a table that does not tell it: the config's where the number agrees, else that of 224x224 pixels,
    which the public ViViTs were trained with."""
    if np.prod(grid) == positions:
        return grid
    _, height, width = source.tubelet
    rows, columns = 224 // height, 224 // width
    if rows * columns == 0 or positions % (rows * columns):
        raise FolderError(
            f"{source.origin}: does not say the grid of its {positions} positions, which are neither the "
            f"{_times(grid)} tokens of config.model.video nor those of clips of 224x224 pixels; set "
            "config.model.video.frames and config.model.video.size to what it was trained with"
        )
    return positions // (rows * columns), rows, columns


def _resampled(table: np.ndarray, before: tuple[int, ...], after: tuple[int, ...]) -> np.ndarray:
    return np.asarray(resample_positions(jnp.asarray(table), before, after))


def _class_token(
    source: VideoSource, grouping: GroupingConfig, choice: str
) -> tuple[np.ndarray | None, dict[str, str]]:
    """The class token where a group token takes it, else why its arrays are dropped."""
    if choice == "dropped":
        names = [name for name, targets in source.converted.used.items() if targets == "class_token"]
        return None, dict.fromkeys(names, 'group tokens stand where it stood; class_token="group" makes it the first')
    if "class_token" not in source.converted.arrays:
        raise FolderError(f'class_token="group": {source.origin} has no class token; take "dropped"')
    if not grouping.in_layers:
        raise FolderError(
            'class_token="group" with config.model.grouping.in_layers=False: a class token is in every layer; set '
            'config.model.grouping.in_layers to True, or take class_token="dropped"'
        )
    return source.converted.arrays["class_token"], {}


def _notes_of_layers(source: VideoSource, stages: Mapping[str, range]) -> dict[str, str]:
    """What the source's conversion invented for layers, under the names of the stages that they are in."""
    notes = {}
    for name, why in source.converted.invented.items():
        if name.startswith("layers."):
            _, number, part = name.split(".", 2)
            stage = next(stage for stage, layers in stages.items() if int(number) in layers)
            notes[f"stages.{stage}.layers.stacked.{part}"] = why
    return notes


def _notes(name: str, *notes: str) -> dict[str, str]:
    """One note of those that are not empty, or none."""
    told = "; ".join(filter(None, notes))
    return {name: told} if told else {}


def _times(numbers: Iterable[int]) -> str:
    return "x".join(map(str, numbers))
