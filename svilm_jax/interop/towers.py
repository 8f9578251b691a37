"""How does a foreign tower fill one of ours? Layers stacked by stage, with every shape checked on both sides."""

from collections.abc import Iterable, Mapping

import numpy as np

from svilm_jax.interop.folder import FolderError
from svilm_jax.interop.source import TextSource

Arrays = dict[str, np.ndarray]


def fill_text(source: TextSource) -> Arrays:
    """Parameters of the text tower under the names of the whole model."""
    layers = source.architecture.layers
    return {f"text_tower.{name}": array for name, array in stacked(source.converted.arrays, range(layers)).items()}


def stacked(arrays: Mapping[str, np.ndarray], layers: Iterable[int], prefix: str = "") -> Arrays:
    """`layers.{i}.NAME` of some layers as `PREFIXlayers.stacked.NAME` [count, ...]; what is of no layer as it is."""
    made = {name: array for name, array in arrays.items() if not name.startswith("layers.")}
    numbers = list(layers)
    parts = sorted({name.split(".", 2)[2] for name in arrays if name.startswith("layers.")})
    for part in parts:
        made[f"{prefix}layers.stacked.{part}"] = np.stack([arrays[f"layers.{i}.{part}"] for i in numbers])
    return made


def check_filled(
    filled: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]], towers: Iterable[str]
) -> None:
    """Refuses to fill a model whose towers are others.

    Args:
      filled: name -> array from the sources.
      wanted: name -> shape of every parameter of the model.
      towers: starts of the names that have to be filled whole, but for what `FRESH` names.

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
        if name not in filled and name.startswith(tuple(towers)) and not is_fresh(name)
    ]
    if wrong:
        told = "; ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise FolderError(f"the source does not fit the model: {told}")


def is_fresh(name: str) -> bool:
    """Whether a parameter is one that no public tower has: group tokens and what works on them."""
    return name.startswith("video_tower.") and (".grouping." in name or name.startswith("video_tower.group_"))
