"""Options of `svilm sweep --launcher=ray`."""

import argparse
from typing import TYPE_CHECKING

from svilm_jax.config import ConfigError

if TYPE_CHECKING:
    from svilm_jax.sweeps.launchers.ray import RayLauncher

_OWN = ("ray_address", "cpus_per_trial")


def add_ray_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the parser of `svilm sweep`."""
    group = parser.add_argument_group("Ray", "with --launcher=ray")
    group.add_argument("--ray-address", default="", metavar="URL", help="of the dashboard, such as http://head:8265")
    group.add_argument("--cpus-per-trial", type=float, default=0, metavar="N", help="logical CPUs of each trial (1)")


def check_ray_arguments(args: argparse.Namespace) -> None:
    """Rejects options of another launcher.

    Raises:
      ConfigError: naming the option.
    """
    given = [name for name in _OWN if getattr(args, name)]
    if given and args.launcher != "ray":
        raise ConfigError(f"--{given[0].replace('_', '-')} belongs to --launcher=ray: add it, or remove the option")


def make_ray_launcher(args: argparse.Namespace) -> "RayLauncher":
    """Returns the launcher.

    Raises:
      ConfigError: Ray is not installed, or impossible resources.
      RayError: the cluster does not answer.
    """
    from svilm_jax.sweeps.launchers.ray import RayLauncher

    return RayLauncher(args.ray_address, args.jobs, args.cpus_per_trial or 1, args.gpus_per_trial)
