"""Script for `sbatch`: one process per machine with all of its GPUs; a job array if there are several runs."""

import shlex
from collections.abc import Sequence

from svilm_jax.config import ConfigError
from svilm_jax.errors import EXIT_STOPPED
from svilm_jax.launch.run import FINAL_STATUSES, Run, Settings, check_name, quoted

SUBMIT = "sbatch FILE"


def render(runs: Sequence[Run], settings: Settings, comments: Sequence[str], name: str) -> str:
    """Returns the script.

    Args:
      runs: one, or the tasks of an array.
      settings: what they share.
      comments: lines at the top.
      name: of the job.

    Raises:
      ConfigError: what SLURM does not have.
    """
    hardware = settings.hardware
    if hardware.platform != "gpu":
        raise ConfigError(f"--accelerator={hardware.name}: --scheduler=slurm has GPUs only, such as H100:8")
    for option, given in (("image", settings.image), ("node-selector", settings.node_selector)):
        if given:
            raise ConfigError(f"--{option} does not apply to --scheduler=slurm; --setup prepares the environment")
    if settings.volumes:
        raise ConfigError("--volume does not apply to --scheduler=slurm, whose machines share a file system")
    check_name(name)
    parts = [
        "#!/bin/bash",
        *(f"# {line}" for line in comments),
        *(f"#SBATCH {option}" for option in _options(runs, settings, name)),
        "",
        "# Files of this job in the folder from which it was submitted, which all machines share.",
        'config="$SLURM_SUBMIT_DIR/svilm-$SLURM_JOB_ID.json"',
        'failures="$SLURM_SUBMIT_DIR/svilm-$SLURM_JOB_ID.failures"',
        *_choice(runs),
        *([settings.setup] if settings.setup else []),
        "",
        "# One process of srun per machine; svilm finds the others through SLURM.",
        _srun(),
        "status=$?",
        *_outcome(settings),
    ]
    return "\n".join(parts) + "\n"


def _options(runs: Sequence[Run], settings: Settings, name: str) -> list[str]:
    array = len(runs) > 1
    cpus = [f"--cpus-per-task={settings.cpus}"] if settings.cpus else ["--exclusive", "--mem=0"]
    return [
        f"--job-name={name}",
        *([f"--array=0-{len(runs) - 1}"] if array else []),
        f"--nodes={settings.hardware.machines}",
        "--ntasks-per-node=1",
        f"--gpus-per-node={settings.hardware.chips}",
        *cpus,
        f"--output={name}-{'%A_%a' if array else '%j'}.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=TERM@{settings.grace_seconds}",
        *settings.directives,
    ]


def _choice(runs: Sequence[Run]) -> list[str]:
    """Returns the lines that set the workdir and write the config, by the number of the task in an array."""
    texts = [
        f"workdir={shlex.quote(run.workdir)}\ncat > \"$config\" <<'END_OF_CONFIG'\n{run.config_text}END_OF_CONFIG"
        for run in runs
    ]
    if len(texts) == 1:
        return texts
    cases = [f"{number})\n{text}\n;;" for number, text in enumerate(texts)]
    return ['case "$SLURM_ARRAY_TASK_ID" in', *cases, "esac"]


def _srun() -> str:
    command = Run("", "$workdir", {}).command("$config")
    # The processes of a run end together by themselves; srun would kill those that still save.
    return quoted(["srun", "--kill-on-bad-exit=0", "--cpus-per-task=$SLURM_CPUS_ON_NODE", *command])


def _outcome(settings: Settings) -> list[str]:
    final = " | ".join(map(str, (0, *FINAL_STATUSES)))
    return [
        "",
        "# Done, a mistake, or diverged: final. Saved and stopped: again. Other failures: again, a few times.",
        'case "$status" in',
        f'{final}) rm -f "$config" "$failures"; exit "$status" ;;',
        f"{EXIT_STOPPED}) ;;",
        "*)",
        '  echo "$status" >> "$failures"',
        f'  [ "$(wc -l < "$failures")" -le {settings.max_restarts} ] || exit "$status"',
        "  ;;",
        "esac",
        'scontrol requeue "$SLURM_JOB_ID"',
        'exit "$status"',
    ]
