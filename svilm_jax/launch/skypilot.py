"""SkyPilot task of a run, for a managed job (`sky jobs launch`), which is started again on new machines."""

from collections.abc import Sequence
from typing import Any

from svilm_jax.config import ConfigError
from svilm_jax.errors import EXIT_STOPPED
from svilm_jax.launch.run import COORDINATOR_PORT, Run, Settings, check_name, check_paths, quoted
from svilm_jax.launch.yaml_text import documents_text

SUBMIT = "sky jobs launch FILE"
_CONFIG_FILE = "$HOME/svilm_config.json"


def render(runs: Sequence[Run], settings: Settings, comments: Sequence[str]) -> str:
    """Returns one task as YAML.

    Raises:
      ConfigError: what SkyPilot cannot run.
    """
    hardware = settings.hardware
    if len(runs) > 1:
        raise ConfigError("--scheduler=skypilot runs tasks of one file one after another; give each a file by --out")
    if hardware.slices > 1:
        raise ConfigError(f"--slices={hardware.slices}: SkyPilot has single slices; --scheduler=jobset has several")
    if not hardware.sky:
        raise ConfigError(f"--accelerator={hardware.name}: SkyPilot has no slices of topology {hardware.topology}")
    if settings.node_selector or settings.directives:
        raise ConfigError("--node-selector and --sbatch do not apply to --scheduler=skypilot")
    check_name(runs[0].name)
    check_paths(runs[0], settings, "SkyPilot")
    return documents_text([_task(runs[0], settings)], comments)


def _task(run: Run, settings: Settings) -> dict[str, Any]:
    hardware = settings.hardware
    resources: dict[str, Any] = {"accelerators": hardware.sky}
    if settings.cpus:
        resources["cpus"] = f"{settings.cpus}+"
    if settings.image:
        resources["image_id"] = f"docker:{settings.image}"
    resources["job_recovery"] = {
        "max_restarts_on_errors": settings.max_restarts,
        "recover_on_exit_codes": [EXIT_STOPPED],  # saved: without limit
    }
    task: dict[str, Any] = {"name": run.name, "resources": resources}
    if hardware.platform == "gpu":
        task["num_nodes"] = hardware.machines
    if settings.volumes:
        task["volumes"] = dict(settings.volumes)
    if not settings.image:
        task["workdir"] = "."
    if setup := settings.setup or _default_setup(settings):
        task["setup"] = f"{setup}\n"
    task["run"] = _script(run, settings)
    return task


def _default_setup(settings: Settings) -> str:
    extra = "tpu" if settings.hardware.platform == "tpu" else "cuda"
    return "" if settings.image else f"python3 -m pip install --quiet '.[{extra}]'"


def _script(run: Run, settings: Settings) -> str:
    """Returns the commands that every machine runs. `exec`: signals reach the training itself."""
    command, lines = run.command(_CONFIG_FILE), []
    if settings.hardware.platform == "gpu" and settings.hardware.machines > 1:
        lines.append('coordinator=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)')
        command += [
            f"--coordinator=$coordinator:{COORDINATOR_PORT}",
            "--processes=$SKYPILOT_NUM_NODES",
            "--process=$SKYPILOT_NODE_RANK",
        ]
    lines += [f"cat > \"{_CONFIG_FILE}\" <<'END_OF_CONFIG'", f"{run.config_text}END_OF_CONFIG"]
    return "\n".join([*lines, f"exec {quoted(command)}"]) + "\n"
