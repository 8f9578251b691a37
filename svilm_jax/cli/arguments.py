"""Help texts shared by the commands."""

MODEL = "directory of `svilm export`, --workdir of `svilm train`, or WORKDIR/checkpoints/STEP"
CONFIG = "Python file with get_config(), or the name of a packaged config such as pretrain/demo"
OVERRIDES = (
    "--config.KEY=VALUE overrides one key of the config, for example --config.train.steps=100; "
    "--config=FILE:KEY=VALUE passes arguments to its get_config"
)
