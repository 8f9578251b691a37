"""Accelerators of a run by their common names: TPU slices such as `v5p-128` or `v5p:4x4x4`, GPUs such as `H100:8`."""

import dataclasses
import math
import re

from svilm_jax.config import ConfigError, nearest
from svilm_jax.profiling.device_specs import DeviceSpec, published_spec

# Shapes of a slice in chips, the usual one of each size. Cloud TPU documentation, pages v4, v5e, v5p and v6e.
_PLANAR = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBIC = (
    *("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4"),
    *("4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16"),
)
_CUBE = 64  # chips; larger slices of three axes consist of cubes of 4x4x4
_NUMBERED = re.compile(r"(?:tpu-)?(v\d+\w*?)-(\d+)")
_SHAPED = re.compile(r"(?:tpu-)?(v\d+\w*?):(\d+(?:x\d+)+)")
_COUNTED = re.compile(r"([A-Za-z][\w-]*):(\d+)")
EXPECTED = "expected a TPU slice such as v5p-128, v5e-64 or v5p:4x4x8, or the GPUs of one machine such as H100:8"


@dataclasses.dataclass(frozen=True)
class _Generation:
    """A TPU generation: JAX's name of the chip, names in GKE and SkyPilot, cores of a chip that names count, shapes."""

    kind: str
    gke: str
    sky: str
    cores: int
    shapes: tuple[str, ...]


_TPUS = {
    "v4": _Generation("TPU v4", "tpu-v4-podslice", "tpu-v4", 2, _CUBIC),
    "v5e": _Generation("TPU v5e", "tpu-v5-lite-podslice", "tpu-v5litepod", 1, _PLANAR),
    "v5p": _Generation("TPU v5p", "tpu-v5p-slice", "tpu-v5p", 2, _CUBIC),
    "v6e": _Generation("TPU v6", "tpu-v6e-slice", "tpu-v6e", 1, _PLANAR),
}
_SAME = {"v5litepod": "v5e"}
# Name of a GPU -> value of the node label `cloud.google.com/gke-accelerator`. A100 alone is the one of 40 GB.
_GPUS = {
    "A100": "nvidia-tesla-a100",
    "A100-80GB": "nvidia-a100-80gb",
    "B200": "nvidia-b200",
    "H100": "nvidia-h100-80gb",
    "H200": "nvidia-h200-141gb",
    "L4": "nvidia-l4",
}


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The accelerators of a run.

    Attributes:
      name: as people call it, such as `v5p-128` or `H100`.
      platform: as JAX calls it, `tpu` or `gpu`.
      kind: start of JAX's `device_kind`.
      chips: per machine.
      machines: per slice; all of them for GPUs.
      slices: connected by the data center network only; 1 for GPUs.
      topology: shape of a slice, such as `4x4x4`; "" for GPUs.
      gke: value of GKE's node label; "" if none is known.
      sky: name of one machine's GPUs, or of a slice, in SkyPilot; "" for a slice of an unusual shape.
    """

    name: str
    platform: str
    kind: str
    chips: int
    machines: int
    slices: int = 1
    topology: str = ""
    gke: str = ""
    sky: str = ""

    @property
    def devices(self) -> int:
        """Number of all chips, which JAX counts as devices."""
        return self.chips * self.machines * self.slices

    @property
    def islands(self) -> int:
        """Number of what JAX calls slices: those of TPUs, and machines with GPUs, which it tells apart like slices."""
        return self.slices if self.platform == "tpu" else self.machines

    @property
    def spec(self) -> DeviceSpec | None:
        """Published figures of a chip, if they are known."""
        found = None if self.name == "A100" else published_spec(self.kind)
        return found[1] if found else None

    def __str__(self) -> str:
        memory = f", {self.spec.hbm_bytes / 1e9:.0f} GB of memory each" if self.spec else ""
        slices = f"{self.slices} slices of " if self.slices > 1 else ""
        shape = f", topology {self.topology}" if self.topology else ""
        return f"{slices}{self.machines} x {self.chips} {self.kind}{shape}{memory}"


def parse_hardware(text: str, nodes: int = 0, slices: int = 0) -> Hardware:
    """Parses the name of accelerators.

    Args:
      text: `v5p-128` (a Cloud TPU type: v4 and v5p count cores, two per chip), `v5p:4x4x4` (a topology, as `svilm
        compile` takes it), or `H100:8` (GPUs of one machine).
      nodes: number of machines with GPUs; 0: one.
      slices: number of TPU slices; 0: one.

    Raises:
      ConfigError: unknown accelerators, a size that does not exist, or a number for the other kind.
    """
    if found := _NUMBERED.fullmatch(text) or _SHAPED.fullmatch(text):
        if nodes:
            raise ConfigError(
                f"--nodes={nodes}: the machines of {text} follow from its topology; --slices=N adds slices"
            )
        return _tpu(text, found.group(1), found.group(2), slices or 1)
    if found := _COUNTED.fullmatch(text):
        if slices:
            raise ConfigError(f"--slices={slices}: only TPUs have slices; --nodes=N is the number of machines")
        name, chips = found.group(1).upper(), int(found.group(2))
        if not chips:
            raise ConfigError(f"--accelerator={text}: {EXPECTED}")
        return Hardware(
            name, "gpu", f"NVIDIA {name}", chips, nodes or 1, gke=_GPUS.get(name, ""), sky=f"{name}:{chips}"
        )
    raise ConfigError(f"--accelerator={text}: {EXPECTED}")


def _tpu(text: str, generation: str, size: str, slices: int) -> Hardware:
    known = _TPUS.get(_SAME.get(generation, generation))
    if known is None:
        raise ConfigError(
            f"--accelerator={text}: unknown TPU generation {generation}{nearest(generation, _TPUS)}; "
            f"known: {', '.join(_TPUS)}"
        )
    usual = {_chips(shape): shape for shape in known.shapes}
    if "x" in size:
        if size not in known.shapes and not _consists_of_cubes(size, known):
            raise ConfigError(f"--accelerator={text}: no such topology; usual ones: {', '.join(known.shapes)}")
        shape = size
    else:
        chips, rest = divmod(int(size), known.cores)
        if rest or chips not in usual:
            sizes = ", ".join(f"{generation}-{known.cores * chips}" for chips in usual)
            raise ConfigError(f"--accelerator={text}: no such size; usual ones: {sizes}")
        shape = usual[chips]
    chips = _chips(shape)
    # A slice of up to eight chips of v5e and v6e is one machine; larger slices have four chips per machine.
    per_machine = chips if known.shapes is _PLANAR and chips <= 8 else 4
    cloud = f"{known.cores * chips}"
    return Hardware(
        name=f"{_SAME.get(generation, generation)}-{cloud}",
        platform="tpu",
        kind=known.kind,
        chips=per_machine,
        machines=chips // per_machine,
        slices=slices,
        topology=shape,
        gke=known.gke,
        sky=f"{known.sky}-{cloud}" if usual.get(chips) == shape else "",
    )


def _chips(shape: str) -> int:
    return math.prod(map(int, shape.split("x")))


def _consists_of_cubes(shape: str, generation: _Generation) -> bool:
    sides = [int(side) for side in shape.split("x")]
    cubes = len(sides) == 3 and sides == sorted(sides) and all(side > 0 and side % 4 == 0 for side in sides)
    return generation.shapes is _CUBIC and cubes and _chips(shape) > _CUBE
