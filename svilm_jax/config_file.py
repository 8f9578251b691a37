"""How does a file on the command line become a config? `--config=FILE[:ARG]` and `--config.KEY=VALUE`, checked."""

import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ml_collections
from absl import flags
from ml_collections import config_flags

from svilm_jax.config import Config, ConfigError, resolve


def read_config(file: str, overrides: Sequence[str]) -> Config:
    """The frozen config of `FILE` or `FILE:ARG` with `--config.KEY=VALUE` overrides.

    Raises:
      ConfigError: no such file, a file that fails, an unknown key (with the nearest), or a value of another type.
    """
    path = file.split(":", 1)[0]
    if not Path(path).is_file():
        raise ConfigError(f"--config={path}: no such file; the project's own are under configs/")
    for override in overrides:
        if not override.startswith("--config."):
            raise ConfigError(f"unknown argument {override!r}: expected --config.KEY=VALUE")
    arguments = ["svilm", f"--config={file}", *overrides]
    values = flags.FlagValues()
    with _command_line(arguments):  # config_flags looks for overrides in sys.argv itself
        config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
        try:
            values(arguments)
            config = values.config
        except ConfigError:
            raise
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"--config={file}: {_short(error)}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise ConfigError(f"--config={file}: get_config() returned {type(config).__name__}, expected a ConfigDict")
    return resolve(config)


def apply_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """A config from a checkpoint with `--config.KEY=VALUE` overrides."""
    if not overrides:
        return config
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "saved.py"
        file.write_text(
            "import ml_collections\n\n\ndef get_config():\n"
            f"    return ml_collections.ConfigDict({dataclasses.asdict(config)!r}, convert_dict=True)\n"
        )
        return read_config(str(file), overrides)


@contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, list(arguments)
    try:
        yield
    finally:
        sys.argv = before


def _short(error: Exception) -> str:
    """The sentence of a long message that says what is wrong: what stands between lists the whole config."""
    lines = [line.strip() for line in str(error.args[0] if error.args else error).splitlines() if line.strip()]
    if "parsing config file" in lines[0]:  # a traceback follows, and its last line is the reason
        return lines[-1].removeprefix("svilm_jax.config.ConfigError: ")
    if isinstance(error, (KeyError, AttributeError)):
        hint = f" {lines[-1]}" if "Did you mean" in lines[-1] else ""
        return f"no such key: {lines[0][:200]}{hint}"
    return lines[0][:300]
