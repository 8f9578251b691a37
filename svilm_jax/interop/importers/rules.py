"""Rules that map the arrays of a source checkpoint to parameters of this project's towers.

Every source array must be used or explicitly dropped by a rule, and every target must be filled; an array that no rule
matches stops the import. Targets are those of one tower with separate layers (`layers.3.mlp.up.kernel`); `towers.py`
stacks them.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from svilm_jax.checkpoints.model_directory import ModelDirectoryError

Change = Callable[[np.ndarray], np.ndarray]


def identity(x: np.ndarray) -> np.ndarray:
    """Returns the same array."""
    return x


def transposed(x: np.ndarray) -> np.ndarray:
    """Transposes PyTorch's linear [out, in] -> [in, out]."""
    return x.T


def flat_in(x: np.ndarray) -> np.ndarray:
    """Flattens Flax's attention [D, H, d] -> [D, H*d]."""
    return x.reshape(x.shape[0], -1)


def flat_out(x: np.ndarray) -> np.ndarray:
    """Flattens Flax's attention [H, d, D] -> [H*d, D]."""
    return x.reshape(-1, x.shape[-1])


def flat(x: np.ndarray) -> np.ndarray:
    """Flattens [H, d], [1, D] or [1, 1, D] -> one axis."""
    return x.reshape(-1)


def squeezed(x: np.ndarray) -> np.ndarray:
    """Removes the first axis, [1, n, D] -> [n, D]."""
    return x.reshape(x.shape[-2:])


def space_time(x: np.ndarray) -> np.ndarray:
    """Transposes PyTorch's convolution [D, 3, p, p] or [D, 3, t, p, p] -> [t, p, p, 3, D]."""
    return np.moveaxis(x if x.ndim == 5 else x[:, :, None], (0, 1), (-1, -2))


def split_qkv(number: int, change: Change = identity) -> Change:
    """Selects query, key or value (0, 1, 2) of a fused array, which are concatenated along its first axis."""
    return lambda x: change(np.split(x, 3)[number])


@dataclasses.dataclass(frozen=True)
class Rule:
    """One source array, or one per layer if the names contain {i}.

    Attributes:
      source: name of the source array.
      targets: (name, change) of the arrays computed from it; () drops it.
      reason: why the array is dropped.
    """

    source: str
    targets: tuple[tuple[str, Change], ...] = ()
    reason: str = ""


def rule(source: str, target: str, change: Change = identity) -> Rule:
    """Maps one source array to one target."""
    return Rule(source, ((target, change),))


def dropped(source: str, reason: str) -> Rule:
    """Drops a source array; `source` may end in * for all names with that prefix."""
    return Rule(source, (), reason)


def linear(source: str, target: str) -> list[Rule]:
    """Returns the rules of a PyTorch linear layer."""
    return [rule(f"{source}.weight", f"{target}.kernel", transposed), rule(f"{source}.bias", f"{target}.bias")]


def norm(source: str, target: str) -> list[Rule]:
    """Returns the rules of a PyTorch layer norm."""
    return [rule(f"{source}.weight", f"{target}.scale"), rule(f"{source}.bias", f"{target}.bias")]


@dataclasses.dataclass(frozen=True)
class Converted:
    """Result of a conversion.

    Attributes:
      arrays: target -> array, float32.
      used: source -> its targets.
      dropped: source -> reason.
      invented: target -> reason, for targets that the source does not have.
    """

    arrays: dict[str, np.ndarray]
    used: dict[str, str]
    dropped: dict[str, str]
    invented: dict[str, str] = dataclasses.field(default_factory=dict)


def convert(arrays: Mapping[str, np.ndarray], rules: Sequence[Rule], layers: int, origin: str) -> Converted:
    """Applies rules to every array.

    Args:
      arrays: name -> source array; shapes are checked against the model later.
      rules: rules for all arrays of the source.
      layers: number of layers {i}.
      origin: names the source in errors.

    Raises:
      ModelDirectoryError: arrays without a rule, or rules whose array is missing; both sides are listed.
    """
    exact = {
        rule_.source.replace("{i}", str(i)): (rule_, i)
        for rule_ in rules
        if not rule_.source.endswith("*")
        for i in range(layers if "{i}" in rule_.source else 1)
    }
    starts = [(rule_.source[:-1], rule_) for rule_ in rules if rule_.source.endswith("*")]
    made: dict[str, np.ndarray] = {}
    used: dict[str, str] = {}
    left_out: dict[str, str] = {}
    unknown = []
    for name, array in arrays.items():
        match = exact.get(name) or next(((rule_, 0) for start, rule_ in starts if name.startswith(start)), None)
        if match is None:
            unknown.append(f"{name} {array.shape}")
            continue
        rule_, i = match
        if not rule_.targets:
            left_out[name] = rule_.reason
            continue
        used[name] = ", ".join(target.replace("{i}", str(i)) for target, _ in rule_.targets)
        for target, change in rule_.targets:
            made[target.replace("{i}", str(i))] = np.asarray(change(array), np.float32)
    missing = [name for name, (rule_, _) in exact.items() if rule_.targets and name not in arrays]
    if unknown or missing:
        raise ModelDirectoryError(
            f"{origin}: not the arrays of such a model. No rule for {_some(unknown)}; missing {_some(missing)}"
        )
    return Converted(made, used, left_out)


def layers_in(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
    r"""Returns the number of layers: one more than the largest number that `pattern` matches by its (\d+)."""
    numbers = [int(match[1]) for name in arrays if (match := re.match(pattern, name))]
    return max(numbers, default=-1) + 1


def without_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Removes the prefix of an enclosing model from names that have it.

    Raises:
      ModelDirectoryError: as `renamed`.
    """
    return renamed(arrays, lambda name: name.removeprefix(prefix))


def renamed(arrays: Mapping[str, np.ndarray], new: Callable[[str], str]) -> dict[str, np.ndarray]:
    """Renames the arrays.

    Raises:
      ModelDirectoryError: two arrays would get the same name, and one of them would be lost.
    """
    made: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if new(name) in made:
            raise ModelDirectoryError(
                f"two arrays are {new(name)} after renaming, the second is {name}: of which model are they?"
            )
        made[new(name)] = array
    return made


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"{', '.join(names[:6])}{more}" if names else "nothing"
