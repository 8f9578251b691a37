"""Record schema of prepared datasets, the only code that `data/` and `svilm_jax/` share.

A dataset on disk is a TFDS dataset of ArrayRecord files. Every builder under `data/` writes these features, and the
input pipeline and the evaluators read them, through `to_example` and `from_example`. Videos stay encoded, as the bytes
of their file. Records that show the same scene or come from the same long video are adjacent and share the same
`group`.
"""

import dataclasses
import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

SCHEMA_VERSION = "1.0.0"
# Of a record, unpacked: 1,000 frames of 1,024 squared. A few packed bytes can unfold to fill any memory.
MAX_MASK_BYTES = 2**30
# Next to dataset_info.json: further splits over the same records, each a list of [split, number, captions or null].
VIEWS = "views.json"
# Next to the version folder: options, and the numbers of clips, captions and questions of each split and view.
SUMMARY = "preparation.json"
# Next to the version folder: action classes in their order; answers of training questions, [answer, count] rows.
LABELS, ANSWERS = "labels.json", "answers.json"


@dataclasses.dataclass(frozen=True)
class Caption:
    """A sentence about the video, with its noun phrases in reading order.

    `start` and `end` are seconds; both are -1 if the sentence describes the whole video.
    """

    text: str
    phrases: tuple[str, ...] = ()
    start: float = -1.0
    end: float = -1.0


@dataclasses.dataclass(frozen=True)
class Action:
    """A labeled segment, in seconds; both -1 if the label applies to the whole video."""

    label: str
    start: float = -1.0
    end: float = -1.0


@dataclasses.dataclass(frozen=True)
class Question:
    """An open-ended question with a single answer; `kind` is the question type (what, where, how many, ...).

    `id` is its id in the official file, by which predictions are exchanged; "" if it has none.
    """

    question: str
    answer: str
    kind: str = ""
    id: str = dataclasses.field(default="", compare=False)  # equal questions are equal, whatever their id


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """An object in the masks: `phrase` names it, `mask_id` is its value in `Record.masks`."""

    phrase: str
    mask_id: int


@dataclasses.dataclass(frozen=True)
class Record:
    """A video with all of its annotations.

    Attributes:
      id: unique in its split.
      video: bytes of an encoded video file.
      captions: captions in the order of the annotation file; may be empty for unlabeled evaluation videos.
      group: records of one group look alike (same source video, or same scene); "" if unknown.
      actions, questions: empty if the dataset has none.
      cuts: seconds at which the scene changes, ascending.
      objects: the objects in `masks`.
      masks: uint8 [F, h, w], one for each frame of the file at any resolution, 0 where no object is; None if the
        dataset has none.
    """

    id: str
    video: bytes
    captions: tuple[Caption, ...] = ()
    group: str = ""
    actions: tuple[Action, ...] = ()
    questions: tuple[Question, ...] = ()
    cuts: tuple[float, ...] = ()
    objects: tuple[SceneObject, ...] = ()
    masks: np.ndarray | None = None


def features() -> Any:
    """Returns the TFDS features of a record. Imported lazily: only builders need TFDS's feature classes."""
    import tensorflow_datasets as tfds

    text, number = tfds.features.Text(), tfds.features.Scalar(np.float32)
    integer = tfds.features.Scalar(np.int32)
    encoded = tfds.features.Tensor(shape=(), dtype=np.object_)  # bytes; no TensorFlow needed, unlike Video
    return tfds.features.FeaturesDict(
        {
            "id": text,
            "group": text,
            "video": encoded,
            "captions": tfds.features.Sequence({"text": text, "start": number, "end": number}),
            # Phrases of all captions in one list, each with its caption's index: nested ragged sequences are
            # what TFDS reads least well without TensorFlow.
            "phrases": tfds.features.Sequence({"text": text, "caption": integer}),
            "actions": tfds.features.Sequence({"label": text, "start": number, "end": number}),
            "questions": tfds.features.Sequence({"question": text, "answer": text, "kind": text, "id": text}),
            "cuts": tfds.features.Sequence(number),
            "objects": tfds.features.Sequence({"phrase": text, "mask_id": integer}),
            "masks": encoded,
        }
    )


def to_example(record: Record) -> dict[str, Any]:
    """Converts a record to the nested dict that a TFDS builder yields for `features()`."""
    return {
        "id": record.id,
        "group": record.group,
        "video": record.video,
        "captions": [{"text": c.text, "start": c.start, "end": c.end} for c in record.captions],
        "phrases": [{"text": p, "caption": i} for i, c in enumerate(record.captions) for p in c.phrases],
        "actions": [dataclasses.asdict(a) for a in record.actions],
        "questions": [dataclasses.asdict(q) for q in record.questions],
        "cuts": list(record.cuts),
        "objects": [dataclasses.asdict(o) for o in record.objects],
        "masks": pack_masks(record.masks),
    }


def from_example(example: Mapping[str, Any]) -> Record:
    """Converts an element of a TFDS data source to a record."""
    phrases: list[list[str]] = [[] for _ in example["captions"]["text"]]
    for text, caption in zip(example["phrases"]["text"], example["phrases"]["caption"], strict=True):
        phrases[int(caption)].append(_text(text))
    captions = _rows(example["captions"], "text", "start", "end")
    return Record(
        id=_text(example["id"]),
        group=_text(example["group"]),
        video=bytes(example["video"]),
        captions=tuple(
            Caption(_text(text), tuple(phrases[i]), float(start), float(end))
            for i, (text, start, end) in enumerate(captions)
        ),
        actions=tuple(
            Action(_text(label), float(start), float(end))
            for label, start, end in _rows(example["actions"], "label", "start", "end")
        ),
        questions=tuple(
            Question(_text(question), _text(answer), _text(kind), _text(number))
            for (question, answer, kind), number in zip(
                _rows(example["questions"], "question", "answer", "kind"),
                # Datasets prepared before questions had numbers have no such field.
                example["questions"].get("id", [""] * len(example["questions"]["question"])),
                strict=True,
            )
        ),
        cuts=tuple(float(cut) for cut in example["cuts"]),
        objects=tuple(
            SceneObject(_text(phrase), int(mask_id))
            for phrase, mask_id in _rows(example["objects"], "phrase", "mask_id")
        ),
        masks=unpack_masks(bytes(example["masks"])),
    )


def pack_masks(masks: np.ndarray | None) -> bytes:
    """Packs uint8 [F, h, w] as a compressed .npy; None as no bytes."""
    if masks is None:
        return b""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(masks, dtype=np.uint8), allow_pickle=False)
    return zlib.compress(buffer.getvalue(), level=1)


def unpack_masks(packed: bytes) -> np.ndarray | None:
    """Inverts `pack_masks`.

    Raises:
      ValueError, zlib.error: damaged, or more than `MAX_MASK_BYTES` once unpacked.
    """
    if not packed:
        return None
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(packed, MAX_MASK_BYTES)
    if not unpacker.eof:
        raise ValueError(f"masks are cut off, or take more than {MAX_MASK_BYTES} bytes")
    return np.load(io.BytesIO(unpacked), allow_pickle=False)


def _rows(sequence: Mapping[str, Any], *names: str) -> Any:
    return zip(*(sequence[name] for name in names), strict=True)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
