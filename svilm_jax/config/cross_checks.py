"""Consistency checks that span several config fields."""

from svilm_jax.config.errors import ConfigError
from svilm_jax.config.schema import SHORTEST_TEXT, Config, ModelConfig, TextConfig


def check_fields_together(config: Config) -> None:
    """Checks fields whose values depend on each other.

    Raises:
      ConfigError: inconsistent values; the message names the keys.
    """
    check_model(config.model, "config.model")
    if not config.model.grouping.after_layers:  # not in check_model: an imported tower has no blocks yet
        raise ConfigError("config.model.grouping.after_layers=(): expected the number of at least one layer")
    for key in ("crop_scale", "crop_ratio"):
        low, high = getattr(config.input, key)
        if low > high:
            raise ConfigError(f"config.input.{key}=({low:g}, {high:g}): expected the smaller number first")
    steps = config.train.profile
    if steps and (len(steps) != 2 or steps[0] >= steps[1]):
        raise ConfigError(
            f"config.train.profile={steps}: expected (first, last), the first step before the last, or () for none"
        )
    _check_mixture(config)
    _check_sentences(config)


def _check_sentences(config: Config) -> None:
    """Checks the source of sentences against the task and the text."""
    source, path = config.input.sentences, f"config.input.sentences={config.input.sentences!r}"
    if source == "question" and config.task != "question_answering":
        raise ConfigError(f"{path}: expected config.task='question_answering', it is {config.task!r}")
    if source == "clauses" and (config.task != "video_text" or config.input.text == "sentences"):
        raise ConfigError(
            f"{path}: clauses are those of the caption of a clip: expected config.task='video_text' with "
            "config.input.text='caption' or 'paragraph'"
        )


def _check_mixture(config: Config) -> None:
    """Checks the datasets of a mixture against the rest of the config."""
    given = config.input
    if given.mixture and config.task != "video_text":
        raise ConfigError(
            f"config.input.mixture with config.task={config.task!r}: expected task='video_text'; other tasks train on "
            "one dataset, config.input.dataset"
        )
    for name, entry in given.mixture.items():
        path = f"config.input.mixture.{name}"
        if not entry.dataset:
            raise ConfigError(f"{path}.dataset='': expected the folder of a prepared dataset")
        text = entry.text or given.text
        if (text == "sentences") != (given.text == "sentences"):
            raise ConfigError(
                f"{path}.text={text!r} with config.input.text={given.text!r}: clips with the mean of several "
                "embeddings cannot share a batch with clips with one text; use 'sentences' for all or for none"
            )


def check_model(model: ModelConfig, path: str) -> None:
    """Checks the fields of a model.

    Args:
      model: the config of the model.
      path: name of the model in messages, such as `config.model`.

    Raises:
      ConfigError: inconsistent values; the message names the keys.
    """
    _check_text(model.text, f"{path}.text")
    layers = model.grouping.after_layers
    if list(layers) != sorted(set(layers)):
        raise ConfigError(f"{path}.grouping.after_layers={layers}: expected ascending numbers")
    if 1 / model.temperature > model.max_logit_scale:
        raise ConfigError(
            f"{path}.temperature={model.temperature:g} starts with a logit scale of {1 / model.temperature:g}, above "
            f"{path}.max_logit_scale={model.max_logit_scale:g}, to which every step clamps it: raise one of them"
        )


def _check_text(text: TextConfig, path: str) -> None:
    if 0 < text.phrase_length < SHORTEST_TEXT:
        raise ConfigError(
            f"{path}.phrase_length={text.phrase_length}: expected at least {SHORTEST_TEXT} tokens (a first one, a last "
            f"one and one in between), or 0 for {path}.max_length"
        )
    for key in ("max_length", "phrase_length"):
        if (length := getattr(text, key)) > text.max_positions:
            raise ConfigError(
                f"{path}.{key}={length}: expected at most {path}.max_positions={text.max_positions}, the number of "
                "position embeddings"
            )
