"""The config of an experiment: its schema, and how a table of values becomes one.

Choices and ranges are declared with each field (`schema`, `constraints`) and checked in one place (`resolution`); what
concerns several fields is in `cross_checks`.
"""

from svilm_jax.config.cross_checks import check_model
from svilm_jax.config.errors import ConfigError, nearest, quoted
from svilm_jax.config.resolution import default_config, parse_arg, resolve, resolve_options
from svilm_jax.config.schema import (
    BestConfig,
    Config,
    GroupingConfig,
    HeadConfig,
    InitConfig,
    InputConfig,
    LocalizationConfig,
    MeshConfig,
    MixtureEntry,
    ModelConfig,
    OptimizerConfig,
    Options,
    SpliceConfig,
    Task,
    TextConfig,
    TokenizerConfig,
    TrackingConfig,
    TrainConfig,
    VideoConfig,
)

__all__ = [
    "BestConfig",
    "Config",
    "ConfigError",
    "GroupingConfig",
    "HeadConfig",
    "InitConfig",
    "InputConfig",
    "LocalizationConfig",
    "MeshConfig",
    "MixtureEntry",
    "ModelConfig",
    "OptimizerConfig",
    "Options",
    "SpliceConfig",
    "Task",
    "TextConfig",
    "TokenizerConfig",
    "TrackingConfig",
    "TrainConfig",
    "VideoConfig",
    "check_model",
    "default_config",
    "nearest",
    "parse_arg",
    "resolve",
    "resolve_options",
    "quoted",
]
