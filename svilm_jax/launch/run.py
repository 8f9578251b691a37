"""Description of a run on a cluster, from which the files of all schedulers are written, and its checks."""

import dataclasses
import json
import math
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from svilm_jax.config import Config, ConfigError
from svilm_jax.config.local_paths import scheme_of
from svilm_jax.errors import EXIT_DIVERGED, UserError
from svilm_jax.launch.hardware import Hardware
from svilm_jax.objectives.registry import build_objectives
from svilm_jax.parallel import mesh_shape
from svilm_jax.parallel.mesh import AXES, BATCH_AXES
from svilm_jax.text.tokenizers import load_tokenizer
from svilm_jax.training.step import check_step_on, fit_to_pieces

COORDINATOR_PORT = 8476  # any free port of the first machine; the one that JAX takes on TPUs
FINAL_STATUSES = (UserError.exit_status, EXIT_DIVERGED)  # running the same command again would not help
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all runs of a file share.

    Attributes:
      hardware: accelerators of one run.
      image: container image that has `svilm`; "" where none is used.
      setup: shell command that prepares a machine; "": the scheduler's default.
      cpus: cores of a machine for the run; 0: as the scheduler gives.
      grace_seconds: from SIGTERM to SIGKILL, for the save.
      max_restarts: after failures; a run that was stopped and has saved is started again without limit.
      volumes: absolute path -> name of the volume that is mounted there.
      node_selector: labels of Kubernetes nodes, instead of GKE's label of the accelerator.
      directives: further options of sbatch.
    """

    hardware: Hardware
    image: str = ""
    setup: str = ""
    cpus: int = 0
    grace_seconds: int = 300
    max_restarts: int = 3
    volumes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    directives: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
      name: in lowercase letters, digits and dashes.
      workdir: `--workdir` on the cluster.
      config: the resolved config, JSON values.
    """

    name: str
    workdir: str
    config: Mapping[str, Any]

    @property
    def config_text(self) -> str:
        """The config as a JSON file, one table per line."""
        tables = (f" {json.dumps(name)}: {json.dumps(table)}" for name, table in self.config.items())
        return "{\n" + ",\n".join(tables) + "\n}\n"

    def command(self, config_file: str) -> list[str]:
        """Returns the command that trains, for one process of a run of a single process."""
        return ["svilm", "train", f"--config={config_file}", f"--workdir={self.workdir}"]


def check_name(name: str, longest: int = 63) -> None:
    """Rejects names that a scheduler would reject.

    Raises:
      ConfigError: too long, or other characters than lowercase letters, digits and dashes.
    """
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise ConfigError(
            f"--name={name}: expected lowercase letters, digits and dashes, beginning with a letter, at most {longest}"
        )


def check_config(config: Config, hardware: Hardware) -> None:
    """Rejects configs that lack something, or whose mesh, batch or attention does not fit the accelerators.

    Raises:
      ConfigError: naming the key.
    """
    if not (config.input.dataset or config.input.mixture):
        raise ConfigError("config.input.dataset is not set: expected a folder that `svilm prepare` wrote")
    if not (config.tokenizer.path or config.init.checkpoint):
        load_tokenizer("")  # which says what is missing
    try:
        shape = mesh_shape(config.mesh, hardware.devices, hardware.islands)
        pieces = math.prod(size for axis, size in zip(AXES, shape, strict=True) if axis in BATCH_AXES)
        # An initial checkpoint replaces parts of the config that objectives depend on.
        objectives = {} if config.init.checkpoint else build_objectives(config.objectives, config)
        check_step_on(fit_to_pieces(config, pieces), objectives, hardware.platform, pieces)
    except ConfigError as error:
        raise ConfigError(f"{hardware.devices} devices ({hardware}): {error}") from error


def check_paths(run: Run, settings: Settings, scheduler: str) -> None:
    """Rejects paths that a fresh machine does not have, and a workdir that is lost with it.

    Raises:
      ConfigError: naming the option or key.
    """
    config: Mapping[str, Mapping[str, Any]] = run.config
    vocabulary = str(config["tokenizer"]["path"])
    paths = {
        "--workdir": run.workdir,
        "config.input.dataset": config["input"]["dataset"],
        "config.tokenizer.path": "" if vocabulary == "dataset" or vocabulary.startswith("builtin:") else vocabulary,
        "config.init.checkpoint": config["init"]["checkpoint"],
        **{f"config.input.mixture.{name}": entry["dataset"] for name, entry in config["input"]["mixture"].items()},
    }
    for name, path in paths.items():
        if path and not (scheme_of(path) or any(_is_below(path, folder) for folder in settings.volumes)):
            raise ConfigError(
                f"{name}={path}: is not on the machines that {scheduler} starts, or is lost with them; give a bucket "
                "(gs://..., s3://...) or a path below a volume (--volume=NAME:/PATH)"
            )


def _is_below(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def quoted(arguments: list[str]) -> str:
    """Returns a shell command, each option on a line of its own; arguments with `$` are put in double quotes."""
    lines = [""]
    for word in arguments:
        if word.startswith("--") or word == "svilm":
            lines.append("")
        lines[-1] += " " * bool(lines[-1]) + (f'"{word}"' if "$" in word else shlex.quote(word))
    return " \\\n  ".join(line for line in lines if line)
