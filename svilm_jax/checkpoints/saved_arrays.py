"""Arrays of a checkpoint: the nested dict that Orbax writes, its shapes, and reading the parameters alone."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from svilm_jax.checkpoints.checksums import check_sums
from svilm_jax.checkpoints.train_state import TrainState
from svilm_jax.models.parameters import Params, named, path_name, unnamed


def saved_tree(folder: Path) -> Any:
    """Returns shapes and dtypes of the saved arrays.

    Asks the handler directly, since a checkpointer also looks for Orbax metadata one folder above, and warns.
    """
    metadata = ocp.PyTreeCheckpointHandler().metadata(folder / "state")
    if metadata is None:
        raise ValueError("the list of its arrays is missing")
    return metadata.tree


def read_params(folder: Path, saved: dict[str, int]) -> Params:
    """Reads the parameters alone, unsharded, on the default device; the optimizer state is not read."""
    tree = saved_tree(folder)
    with ocp.PyTreeCheckpointer() as checkpointer:
        name = "ema" if tree.get("ema") else "params"
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        wanted = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=device), tree[name])
        restore = ocp.checkpoint_utils.construct_restore_args(wanted)
        options = ocp.args.PyTreeRestore(item={name: wanted}, restore_args={name: restore}, partial_restore=True)
        restored = checkpointer.restore(folder / "state", args=options)
    check_sums({name: restored[name]}, saved)
    # List indices were written as numbers and are read back as text.
    return unnamed(named(restored[name]))


def shapes_by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns name -> shape of every array; list indices count as their numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    shapes = {path_name(path): getattr(leaf, "shape", None) for path, leaf in leaves}
    return {name: tuple(shape) for name, shape in shapes.items() if shape is not None}


def state_tree(state: TrainState) -> dict[str, Any]:
    """Returns a state as the nested dict that Orbax writes; absent averages are left out."""
    tree = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in tree.items() if value is not None}


def state_from_tree(tree: Mapping[str, Any]) -> TrainState:
    """Inverts `state_tree`."""
    return TrainState(tree["step"], tree["params"], tree["optimizer"], tree.get("ema"))
