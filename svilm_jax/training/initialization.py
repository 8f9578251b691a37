"""Parameter initialization: random, or from a checkpoint whose towers are fine-tuned for a task.

Every parameter of the checkpoint is mapped or reported as skipped, and every parameter of the model is filled or
reported as newly initialized; only a task's head may be either. Position embeddings are resampled where the config has
a different number of frames or image size.
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import jax

from svilm_jax.checkpoints import load
from svilm_jax.config import Config, ConfigError, ModelConfig, check_model, resolve_options
from svilm_jax.inference import TrainedModel
from svilm_jax.input.features import read_index
from svilm_jax.input.labels import read_classes
from svilm_jax.models.parameters import HEAD, Params, named, parameters
from svilm_jax.models.patch_embedding import token_grid
from svilm_jax.models.positions import resample_positions
from svilm_jax.text.tokenizers import Tokenizer, load_tokenizer

log = logging.getLogger(__name__)

# Position tables, and the axes of (time, rows, columns) that their rows cover.
POSITION_AXES = {
    "video_tower.time_position": slice(0, 1),
    "video_tower.space_position": slice(1, 3),
    "video_tower.joint_position": slice(0, 3),
}


@dataclasses.dataclass(frozen=True)
class ResolvedInit:
    """Initial state of a run.

    Attributes:
      config: with the checkpoint's model if there is one, and with the classes of the head.
      tokenizer: the checkpoint's, or that of the config.
      loaded: the checkpoint; None for random initialization.
    """

    config: Config
    tokenizer: Tokenizer
    loaded: TrainedModel | None = None


def resolve_init(config: Config) -> ResolvedInit:
    """Reads the checkpoint and the classes that a config names.

    Raises:
      CheckpointError, DatasetError, TokenizerError: they do not exist.
      ConfigError: `init.model` changes a field that cannot be changed.
    """
    loaded = None
    if config.init.checkpoint and config.task == "localization":
        raise ConfigError(
            f"config.init.checkpoint={config.init.checkpoint}: not used with config.task='localization'; "
            "write features of the checkpoint with `svilm extract-features` and set config.model.localization.features"
        )
    if config.init.checkpoint:
        loaded = load(config.init.checkpoint)
        model = dataclasses.replace(_changed(loaded.config.model, config.init.model), head=config.model.head)
        # Both: a checkpoint of this run records the settings of its tokenizer.
        config = dataclasses.replace(config, model=model, tokenizer=loaded.config.tokenizer)
        tokenizer = loaded.tokenizer
    elif config.init.model:
        raise ConfigError("config.init.model changes the model of a checkpoint: name one, or set config.model")
    else:
        tokenizer = load_tokenizer(config.tokenizer.path, config.tokenizer.lowercase, config.input.dataset)
    if config.task == "localization":
        return ResolvedInit(_of_features(config), tokenizer, None)
    head = config.model.head
    if config.task != "video_text" and not head.classes:
        classes = read_classes(config.input.dataset, config.task, head.max_classes)
        head = dataclasses.replace(head, classes=classes)
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, head=head))
    return ResolvedInit(config, tokenizer, loaded)


def initial_params(fresh: Params, loaded: TrainedModel, config: Config) -> Params:
    """Returns the initial parameters of a model, filled from a checkpoint.

    Args:
      fresh: random parameters of the model to train.
      loaded: model whose parameters replace them by name.
      config: of the run, as returned by `resolve_init`.

    Raises:
      ConfigError: parameters that match neither by name nor by shape; the message lists both sides.
    """
    source = named(parameters(loaded.model))
    target = named(fresh)
    anew = _anew(loaded.config, config)
    filled: dict[str, Any] = {}
    wrong = []
    for name, value in target.items():
        if name not in source or name.startswith(anew):
            filled[name] = value
            wrong += [] if name.startswith(HEAD) else [f"{name} {value.shape}: not in the checkpoint"]
            continue
        found = source[name]
        if (axes := POSITION_AXES.get(name)) is not None:
            found = resample_positions(found, _grid(loaded.config)[axes], _grid(config)[axes])
        if found.shape != value.shape:
            wrong.append(f"{name}: {found.shape} in the checkpoint, {value.shape} in the model")
            continue
        # A copy: training donates its arrays, and `loaded` must stay usable.
        filled[name] = jax.device_put(found, value.sharding, may_alias=False)
    dropped = [name for name in source if name not in target and not name.startswith(HEAD)]
    wrong += [f"{name} {source[name].shape}: not in the model" for name in dropped]
    if wrong:
        raise ConfigError(
            f"config.init.checkpoint={config.init.checkpoint}: does not fit the model: {'; '.join(wrong[:8])}"
            f"{f' and {len(wrong) - 8} more' if len(wrong) > 8 else ''}"
        )
    fresh_names = sorted(name for name in target if filled[name] is target[name])
    log.info("from %s, step %d; fresh: %s", config.init.checkpoint, loaded.step, fresh_names)
    return jax.tree.unflatten(jax.tree.structure(fresh), [filled[name] for name in target])


def _anew(before: Config, after: Config) -> tuple[str, ...]:
    """Returns name prefixes that a checkpoint does not fill even if shapes match.

    These are the head of another task, or the logits of other classes.
    """
    if before.task != after.task:
        return (HEAD,)
    return () if before.model.head.classes == after.model.head.classes else (f"{HEAD}out.",)


def _of_features(config: Config) -> Config:
    """Returns the config with the width and the classes of its folder of features."""
    index = read_index(config.model.localization.features)
    sizes = dataclasses.replace(config.model.localization, feature_dim=index.width)
    head = config.model.head
    head = head if head.classes else dataclasses.replace(head, classes=index.labels)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, localization=sizes, head=head))


def _grid(config: Config) -> tuple[int, ...]:
    return token_grid(config.model.video)


def _changed(model: ModelConfig, changes: Mapping[str, Any]) -> ModelConfig:
    """Returns a model config with some fields changed."""
    tree = dataclasses.asdict(model)
    for key, value in changes.items():
        tree[key] = {**tree[key], **value} if isinstance(value, Mapping) and key in tree else value
    changed = resolve_options(ModelConfig, tree, "config.init.model")
    check_model(changed, "config.init.model")
    return changed
