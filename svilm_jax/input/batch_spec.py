"""Shapes and dtypes of a training batch, derived from a config alone, for compilation without data."""

import numpy as np

from svilm_jax.config import Config
from svilm_jax.input.segments import localization_targets

Spec = dict[str, tuple[tuple[int, ...], np.dtype]]


def batch_spec(config: Config) -> Spec:
    """Returns name -> (shape, dtype) of a global batch of `TrainInput` or `FeatureInput`."""
    rows = config.train.batch_size
    spec: dict[str, tuple[tuple[int, ...], type]] = {"valid": ((rows,), np.bool_), "index": ((rows,), np.int64)}
    if config.task == "localization":
        sizes = config.model.localization
        targets = localization_targets(np.zeros((0, 2)), np.zeros(0, np.int32), 1.0, sizes.num_steps)
        spec |= {name: ((rows, *array.shape), array.dtype.type) for name, array in targets.items()}
        spec["features"] = ((rows, sizes.num_steps, sizes.feature_dim), np.float32)
        return {name: (shape, np.dtype(kind)) for name, (shape, kind) in spec.items()}
    task, given, video, text = config.task, config.input, config.model.video, config.model.text
    spec["video"] = ((rows, video.num_frames, video.image_size, video.image_size, 3), np.uint8)
    if task == "question_answering" or (task == "video_text" and given.text != "sentences"):
        spec |= {"text": ((rows, text.max_length), np.int32), "text_mask": ((rows, text.max_length), np.bool_)}
    if task == "video_text":
        spec["nouns"] = ((rows, given.num_phrases, text.phrase_length or text.max_length), np.int32)
        spec["noun_mask"] = ((rows, given.num_phrases), np.bool_)
    else:
        spec["target"] = ((rows,), np.int32)
    if given.num_sentences:
        spec["sentences"] = ((rows, given.num_sentences, text.max_length), np.int32)
        spec["sentence_mask"] = ((rows, given.num_sentences), np.bool_)
        spec["sentence_spans"] = ((rows, given.num_sentences, 2), np.float32)
    return {name: (shape, np.dtype(kind)) for name, (shape, kind) in spec.items()}
