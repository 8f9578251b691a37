"""Files that the commands write in a workdir: resolved config, environment and metrics, each written atomically."""

import dataclasses
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import jax

from svilm_jax.config import Config, ConfigError
from svilm_jax.filesystem.atomic_write import atomic_write

EXIT_FAILED = 1  # an evaluator failed (the metrics of the others are written), or a step does not fit
# Reason for rejecting an override that has no effect.
DECIDED = (
    "determined by config.init.checkpoint or by the dataset; to change the model of a checkpoint, set the same key "
    "below config.init.model"
)


def environment(command: Sequence[str]) -> dict[str, str]:
    """Returns the command, platform, devices and package versions of this process, for the report of a run."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "av", "svilm_jax")
    return {
        "command": " ".join(command),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}, {jax.process_count()} processes",
        **{name: metadata.version(name) for name in packages},
    }


def open_workdir(workdir: Path, config: Config, command: Sequence[str]) -> None:
    """Writes the config and the environment of a run to its workdir, once all checks have passed.

    Raises:
      ConfigError: the workdir is not writable.
    """
    try:
        (workdir / "metrics.json").unlink(missing_ok=True)  # of an earlier run: its presence means "finished"
        write_json(workdir / "config.json", dataclasses.asdict(config))
        write_json(workdir / "environment.json", environment(command))
    except OSError as error:
        raise ConfigError(f"--workdir={workdir}: not writable ({error.strerror}); choose another") from error


def report_failures(failed: Mapping[str, str]) -> int:
    """Prints which evaluators failed and why; returns the exit status."""
    for name, reason in failed.items():
        print(f"evaluator {name} failed: {reason}", file=sys.stderr)
    return EXIT_FAILED if failed else 0


def write_json(path: Path, document: Mapping[str, object] | Config) -> None:
    """Writes a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write_text(json.dumps(document, indent=1) + "\n")
