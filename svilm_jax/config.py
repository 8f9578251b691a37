"""What can be configured? Every field of an experiment, its default, and where the default comes from.

A config file returns a locked `ConfigDict` made by `default_config()` and changed field by field; `resolve` turns it
once, at start, into the frozen dataclasses below, which is all that the code ever reads. Grades as in the method
notes: [P] stated by the paper, [A] attributed to it, [C] this project's choice.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from svilm_jax.errors import UserError

Options = Mapping[str, Any]


class ConfigError(UserError, ValueError):
    """A config that cannot be run; the message names the key, what was expected and what to do."""


@dataclasses.dataclass(frozen=True)
class VideoConfig:
    """Video tower and what it is fed. Zero means: as `ModelConfig.variant` says."""

    frames: int = 32  # [P]
    size: int = 224  # pixels, height and width [A]
    tubelet: tuple[int, int, int] = (2, 16, 16)  # frames, height, width [A]
    stem: tuple[int, ...] = ()  # (4, 2, 2): strides of convolutions that make up a patch; (): linear [C]
    layers: int = 0
    width: int = 0
    heads: int = 0
    mlp_ratio: float = 4.0  # [A]
    activation: str = "gelu"  # gelu | gelu_tanh | relu
    norm_epsilon: float = 1e-6  # of the layer norms, as in ViT
    position_table: str = "factorized"  # factorized: a row a time index plus a row a place | joint: a row a token [C]


@dataclasses.dataclass(frozen=True)
class GroupingConfig:
    """Group tokens and grouping blocks (METHOD 1.1)."""

    num_groups: int = 32  # [P]
    after_layers: tuple[int, ...] = (6, 9, 12)  # 1-based, [P]
    assignment: str = "hard"  # hard | gumbel | soft, in training; evaluation takes argmax unless soft [C]
    in_layers: bool = True  # group tokens attend and are attended to in every layer [C]


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Text tower: BERT's architecture exactly. Zero means: as `ModelConfig.variant` says."""

    length: int = 32  # tokens of a caption, [CLS] and [SEP] included [A]
    noun_length: int = 0  # tokens of a prompted phrase; 0: the same as `length`
    layers: int = 0
    width: int = 0
    heads: int = 0
    mlp_ratio: float = 4.0
    positions: int = 512  # rows of the position table, as BERT's; at least `length`
    activation: str = "gelu"
    norm_epsilon: float = 1e-12  # of the layer norms, as in BERT
    pool: str = "first"  # what stands for a sentence: first, its [CLS] [A] | mean, that of all its tokens [C]


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """What a task adds to the two towers (METHOD 1.7)."""

    kind: str = ""  # "" (the towers alone) | question_answering | classification
    classes: tuple[str, ...] = ()  # answers or labels by their numbers; (): as the dataset lists them
    max_classes: int = 0  # the most frequent answers only; 0: all
    layers: int = 2  # of question_answering: cross-attention from the question to the clip [C]


@dataclasses.dataclass(frozen=True)
class LocalizationConfig:
    """G-TAD on features of sliding windows (METHOD 1.7); read where `task` is localization."""

    features: str = ""  # folder that `svilm embed` wrote, of the training split
    feature_width: int = 0  # 0: as that folder says
    steps: int = 100  # [P] to which the features of a video are resized
    width: int = 256  # [P]
    neighbors: int = 3  # [P] edges of the semantic graph a step
    samples: int = 32  # [P] of the inside of an anchor
    context_samples: int = 4  # [P] of each end
    classify: bool = True  # learn classes of steps too; without, an external classifier has to name them [C]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The two towers and their joint space."""

    variant: str = "B"  # Mini | Ti | S | B | L
    video: VideoConfig = VideoConfig()
    grouping: GroupingConfig = GroupingConfig()
    text: TextConfig = TextConfig()
    embed_dim: int = 256  # C [A]
    clip_pool: str = "tokens"  # tokens | groups | both [C]
    temperature: float = 0.07  # initial temperature of the global contrast [C]
    max_logit_scale: float = 100.0  # [C]
    compute_dtype: str = "auto"  # auto: bfloat16 on accelerators, float32 on CPU
    attention: str = "auto"  # auto | xla | cudnn | splash | rowwise
    remat: str = "none"  # none | dots | full
    scan_unroll: int = 1  # layers unrolled in the scan over depth; 0: all of them
    head: HeadConfig = HeadConfig()
    localization: LocalizationConfig = LocalizationConfig()


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """From where parameters start, and which of them move.

    With a checkpoint, its tokenizer and its `model` (all but `model.head`) replace those of the config; `model` here
    changes fields of it. Positions are resampled where the number of frames or the size changes.
    """

    checkpoint: str = ""  # a --workdir of `svilm train`, WORKDIR/checkpoints/STEP, or a folder of import or export
    model: Options = dataclasses.field(default_factory=dict)  # such as {"video": {"frames": 32}}
    freeze: tuple[str, ...] = ()  # starts of parameter names that stay as they are, such as "text_tower"
    learning_rate_scale: float = 1.0  # of what came trained; what is fresh, in an import too, moves at the full rate


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Vocabulary of captions and phrases. `path`: vocab.txt or tokenizer.json (WordPiece), *.model (SentencePiece)."""

    path: str = "builtin:moving_shapes"  # or "dataset": the vocabulary that `svilm prepare` wrote beside the records
    lowercase: bool = True


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """From a prepared dataset to batches."""

    dataset: str = ""  # folder that `svilm prepare` wrote
    split: str = "train"
    task: str = "captions"  # captions | questions | actions: what a clip is shown with
    text: str = "caption"  # of captions: one caption | paragraph, all joined | sentences, the mean of theirs
    sentences: int = 0  # sentences a video with their times, for `text="sentences"` and multi-level alignment
    workers: int = 0  # decoding processes; 0: threads of the main process
    threads: int = 2  # decoding threads of each process
    prefetch: int = 2  # batches held ready
    cache_bytes: int = 0  # decoded clips kept in memory, for datasets that fit
    shuffle_block: int = 1  # consecutive records that stay together in a batch: look-alikes as hard negatives
    random_crop: bool = True
    crop_scale: tuple[float, float] = (0.5, 1.0)  # share of the frame's area
    crop_ratio: tuple[float, float] = (0.75, 1.333)
    flip: bool = True  # never where a caption says left or right
    nouns: int = 2  # K phrases a caption [P]
    prompts: tuple[str, ...] = ("a video of {}",)  # [A]
    max_failure_share: float = 0.01  # of clips that do not decode before training stops


@dataclasses.dataclass(frozen=True)
class SpliceConfig:
    """Cut and paste (METHOD 1.3)."""

    enabled: bool = True
    share: float = 1.0  # of the clips that are spliced [P: all]; the others are seen whole
    partner: str = "roll"  # roll | derangement [C]
    block: int = 8  # rows that exchange backgrounds; never straddles a device


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Optimiser and schedule (METHOD 1.6)."""

    name: str = "sgd"  # sgd [A] | adamw | muon [C]
    learning_rate: float = 0.1  # [A]
    momentum: float = 0.9  # sgd, muon
    beta1: float = 0.9  # adamw, and what muon leaves to Adam
    beta2: float = 0.98
    eps: float = 1e-8
    weight_decay: float = 1e-4  # on matrices only: no biases, norms, embeddings, logit scale
    clip_norm: float = 1.0  # of the global gradient; 0: off
    warmup_share: float = 0.05  # [A]
    end_share: float = 0.0  # last learning rate as a share of the peak
    muon_rms: float = 0.2  # of a muon update at learning rate 1; 0.2: as large as AdamW's [C]
    muon_from: float = 0.0  # share of the steps in which Adam moves the matrices, too, before muon does [C]
    ema: float = 0.0  # decay of averaged parameters; 0: none kept


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices and how parameters lie on them."""

    preset: str = "dp"  # dp | fsdp | fsdp_tp | fsdp_seq
    tensor: int = 1  # devices along the tensor axis (fsdp_tp)
    seq: int = 1  # devices that share the tokens of a clip (fsdp_seq)
    slices: int = 0  # groups of devices with a slow network between; parameters are whole in each. 0: as they say
    max_replicated_share: float = 0.02  # parameters that may end up replicated under fsdp and fsdp_tp


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    batch_size: int = 1024  # global, all devices [A]
    epochs: float = 10.0  # [A]; ignored where steps > 0
    steps: int = 0
    seed: int = 0
    log_every: int = 50  # steps
    eval_every: int = 0  # steps; 0: at the end only
    checkpoint_every: int = 1000  # steps; the last step is always saved
    checkpoint_seconds: float = 0.0  # also save after so many seconds; 0: never
    keep_checkpoints: int = 3
    watchdog_minutes: float = 60.0  # that a step, a save or an evaluation may last before the run ends; 0: no limit
    lost_process_seconds: float = 100.0  # without a sign of life of a process, after which the others end
    microbatches: int = 1  # parts of a batch that are encoded one after another, for batches beyond memory
    accumulation: str = "gradcache"  # gradcache | mean; a mean of the parts' losses is refused under a contrast


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment.

    `objectives` and `evaluators` are open tables, name -> options: what an objective may be given stands with it in
    `svilm_jax/objectives`, and an unknown name or option is refused at start.
    """

    task: str = "video_text"  # video_text | localization
    model: ModelConfig = ModelConfig()
    init: InitConfig = InitConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    input: InputConfig = InputConfig()
    splice: SpliceConfig = SpliceConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()
    objectives: Options = dataclasses.field(default_factory=dict)
    evaluators: Options = dataclasses.field(default_factory=dict)


def default_config() -> ml_collections.ConfigDict:
    """Every field with its default, locked: a config file changes values and cannot invent keys.

    `objectives`, `evaluators` and `init.model` start empty and unlocked: what they may hold is checked at start.
    """
    config = ml_collections.ConfigDict(dataclasses.asdict(Config()), convert_dict=True)
    config.lock()
    config.objectives.unlock()
    config.evaluators.unlock()
    config.init.model.unlock()
    return config


def parse_arg(arg: str | None, **defaults: Any) -> types.SimpleNamespace:
    """The part after the colon of `--config=file.py:key=value,key=value`, with its defaults and their types.

    Raises:
      ConfigError: an unknown key or a value of another type than the default's.
    """
    values = dict(defaults)
    for item in filter(None, (arg or "").split(",")):
        key, separator, text = item.partition("=")
        if key not in defaults or not separator:
            raise ConfigError(
                f"config argument {item!r}: expected key=value, key one of {sorted(defaults)}{nearest(key, defaults)}"
            )
        kind = type(defaults[key])
        try:
            values[key] = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"config argument {key}={text!r}: expected a {kind.__name__}") from error
    return types.SimpleNamespace(**values)


def resolve(config: ml_collections.ConfigDict | Mapping[str, Any]) -> Config:
    """The frozen form of a config.

    Raises:
      ConfigError: a key that does not exist (with the nearest one that does) or a value of another type.
    """
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
    return _build(Config, tree, "config")


_T = typing.TypeVar("_T")


def resolve_options(kind: type[_T], tree: Mapping[str, Any], path: str) -> _T:
    """The options of one entry of an open table (`objectives`, `evaluators`) as the frozen dataclass `kind`.

    Raises:
      ConfigError: as `resolve`; `path` names the entry.
    """
    return _build(kind, tree, path)


def nearest(key: str, known: typing.Iterable[str]) -> str:
    """`; did you mean 'x'?` for a misspelt key, or nothing."""
    match = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""


def _build(kind: type, tree: Any, path: str) -> Any:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path}: expected a table of fields, got {tree!r}")
    hints = typing.get_type_hints(kind)
    for key in tree:
        if key not in hints:
            raise ConfigError(f"{path}.{key}: no such key{nearest(key, hints)}; known: {sorted(hints)}")
    return kind(**{key: _value(hints[key], value, f"{path}.{key}") for key, value in tree.items()})


def _value(hint: Any, value: Any, path: str) -> Any:
    """`value` checked against a type hint; ints pass as floats, lists as tuples."""
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, path)
    if typing.get_origin(hint) is tuple:
        members = typing.get_args(hint)
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{path}: expected a sequence, got {value!r}")
        if members[-1] is Ellipsis:
            members = (members[0],) * len(value)
        if len(members) != len(value):
            raise ConfigError(f"{path}: expected {len(members)} values, got {value!r}")
        return tuple(_value(m, v, f"{path}[{i}]") for i, (m, v) in enumerate(zip(members, value, strict=True)))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(hint) is not None or hint is Any:  # an open table of options
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path}: expected a table, got {value!r}")
        return value
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{path}: expected a {hint.__name__}, got {value!r}")
    return value
