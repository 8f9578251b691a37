"""Inputs of an objective that not every config provides."""

import dataclasses
import functools

from svilm_jax.config import Config
from svilm_jax.config.schema import HEAD_TASKS


@dataclasses.dataclass(frozen=True)
class Requirement:
    """A condition on one config key.

    Attributes:
      key: path below `config`, such as "task".
      advice: what the objective needs and how to set it, for the error message.
      values: the values that provide it; None: any true value.
    """

    key: str
    advice: str
    values: tuple[object, ...] | None = None

    def unmet(self, config: Config) -> str:
        """Returns why a config does not provide the input; "" if it does."""
        value = functools.reduce(getattr, self.key.split("."), config)
        provided = bool(value) if self.values is None else value in self.values
        return "" if provided else f"needs {self.advice}; config.{self.key} is {value!r}"


CLIPS = Requirement("task", "clips: config.task other than localization", ("video_text", *HEAD_TASKS))
CAPTIONS = Requirement("task", "captions: config.task=video_text", ("video_text",))
CLASS_SCORES = Requirement("task", f"a head that scores classes: config.task={' or '.join(HEAD_TASKS)}", HEAD_TASKS)
FEATURES = Requirement("task", "features: config.task=localization", ("localization",))
TIMED_SENTENCES = Requirement("input.num_sentences", "timed sentences: config.input.num_sentences above 0")
TIME_EMBEDDINGS = Requirement(
    "model.clip_pool", "the embedding of each temporal index: config.model.clip_pool=tokens", ("tokens",)
)
SPLICES = Requirement("splice.enabled", "cut and paste: config.splice.enabled=True")
