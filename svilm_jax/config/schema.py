"""Experiment config schema: every field with its default, its range or choices, and the source of the default.

A config file returns a locked `ConfigDict` that `default_config()` creates and the file modifies field by field.
`resolve` validates it against this schema and converts it once, at startup, into the frozen dataclasses below; no other
code reads the `ConfigDict`.
Grades as in the method notes: [P] stated by the paper, [A] attributed to it, [C] this project's choice.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from svilm_jax.config.constraints import (
    LARGEST,
    Count,
    CountOrZero,
    Decay,
    LocalPath,
    NonEmpty,
    PartialOf,
    Positive,
    PositiveOrZero,
    Range,
    Share,
    Temperature,
    Text,
)

Options = Mapping[str, Any]
# What a model is trained for: it decides what a clip is paired with in a batch, and which head is added to the towers.
Task = Literal["video_text", "question_answering", "action_recognition", "localization"]

Activation = Literal["gelu", "gelu_tanh", "relu"]
Epsilon = Annotated[float, Range(0, 1, low_included=False)]
Layers = Annotated[int, Range(0, 1024)]  # 0: as `ModelConfig.variant` says
Width = Annotated[int, Range(0, 65_536)]  # the same
Heads = Annotated[int, Range(0, 1024)]  # the same
Ratio = Annotated[float, Range(0, 64, low_included=False)]
Portion = Annotated[float, Range(0, 1, low_included=False)]
Pixels = Annotated[int, Range(1, 8192)]
Stride = Annotated[int, Range(2, 64)]
Frames = Annotated[int, Range(1, 4096)]
# A first and a last token, and one between them.
SHORTEST_TEXT = 3


@dataclasses.dataclass(frozen=True)
class VideoConfig:
    """Video tower and what it is fed. Zero means: as `ModelConfig.variant` says."""

    num_frames: Frames = 32  # [P]
    image_size: Pixels = 224  # pixels, height and width [A]
    tubelet_size: tuple[Frames, Pixels, Pixels] = (2, 16, 16)  # frames, height, width [A]
    stem: tuple[Stride, ...] = ()  # (4, 2, 2): strides of convolutions that make up a patch; (): linear [C]
    num_layers: Layers = 0
    hidden_size: Width = 0
    num_heads: Heads = 0
    mlp_ratio: Ratio = 4.0  # [A]
    activation: Activation = "gelu"
    norm_epsilon: Epsilon = 1e-6  # of the layer norms, as in ViT
    # factorized: a row a time index plus a row a place | joint: a row a token [C]
    position_table: Literal["factorized", "joint"] = "factorized"


@dataclasses.dataclass(frozen=True)
class GroupingConfig:
    """Group tokens and grouping blocks (METHOD 1.1)."""

    num_groups: Annotated[int, Range(1, 65_536)] = 32  # [P]
    after_layers: tuple[Count, ...] = (6, 9, 12)  # 1-based, [P]
    assignment: Literal["hard", "gumbel", "soft"] = "hard"  # in training; evaluation takes argmax unless soft [C]
    in_layers: bool = True  # group tokens attend and are attended to in every layer [C]


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Text tower: BERT's architecture exactly. Zero means: as `ModelConfig.variant` says."""

    max_length: Annotated[int, Range(SHORTEST_TEXT, 65_536)] = 32  # tokens of a caption, [CLS] and [SEP] included [A]
    phrase_length: Annotated[int, Range(0, 65_536)] = 0  # tokens of a prompted phrase; 0: the same as `length`
    num_layers: Layers = 0
    hidden_size: Width = 0
    num_heads: Heads = 0
    mlp_ratio: Ratio = 4.0
    # rows of the position table, as BERT's; at least `length`
    max_positions: Annotated[int, Range(SHORTEST_TEXT, 65_536)] = 512
    activation: Activation = "gelu"
    norm_epsilon: Epsilon = 1e-12  # of the layer norms, as in BERT
    # what stands for a sentence: first, its [CLS] [A] | mean, that of all its tokens [C]
    pool: Literal["cls", "mean"] = "cls"


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """The head that `Config.task` adds to the two towers (METHOD 1.7)."""

    classes: tuple[str, ...] = ()  # answers or labels by their numbers; (): as the dataset lists them
    max_classes: CountOrZero = 0  # the most frequent answers only; 0: all
    # of question_answering: cross-attention from the question to the clip [C]
    num_layers: Annotated[int, Range(1, 1024)] = 2


@dataclasses.dataclass(frozen=True)
class LocalizationConfig:
    """G-TAD on features of sliding windows (METHOD 1.7); read where `task` is localization."""

    features: LocalPath = ""  # folder that `svilm embed` wrote, of the training split
    feature_dim: Width = 0  # 0: as that folder says
    num_steps: Annotated[int, Range(2, 10_000)] = 100  # [P] to which the features of a video are resized
    hidden_size: Annotated[int, Range(1, 65_536)] = 256  # [P]
    num_neighbors: Annotated[int, Range(1, 10_000)] = 3  # [P] edges of the semantic graph a step
    num_samples: Annotated[int, Range(1, 10_000)] = 32  # [P] of the inside of an anchor
    num_context_samples: Annotated[int, Range(0, 10_000)] = 4  # [P] of each end
    classify: bool = True  # learn classes of steps too; without, an external classifier has to name them [C]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The two towers and their joint space."""

    variant: Literal["Mini", "Ti", "S", "B", "L"] = "B"
    video: VideoConfig = VideoConfig()
    grouping: GroupingConfig = GroupingConfig()
    text: TextConfig = TextConfig()
    embed_dim: Annotated[int, Range(1, 65_536)] = 256  # C [A]
    clip_pool: Literal["tokens", "groups", "both"] = "tokens"  # [C]
    temperature: Temperature = 0.07  # initial temperature of the global contrast [C]
    max_logit_scale: Positive = 100.0  # [C]
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on accelerators, float32 on CPU
    attention: Literal["auto", "xla", "cudnn", "splash", "rowwise"] = "auto"
    remat: Literal["none", "dots", "full"] = "none"
    scan_unroll: Annotated[int, Range(0, 1024)] = 1  # layers unrolled in the scan over depth; 0: all of them
    head: HeadConfig = HeadConfig()
    localization: LocalizationConfig = LocalizationConfig()


ModelChanges = Annotated[Options, PartialOf(ModelConfig, without=("head",))]


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """From where parameters start, and which of them move.

    With a checkpoint, its tokenizer and its `model` (all but `model.head`) replace those of the config; `model` here
    changes fields of it. Positions are resampled where the number of frames or the size changes.
    """

    # a --workdir of `svilm train`, WORKDIR/checkpoints/STEP, or a folder of import or export
    checkpoint: LocalPath = ""
    model: ModelChanges = dataclasses.field(default_factory=dict)  # such as {"video": {"num_frames": 32}}
    freeze: tuple[Text, ...] = ()  # starts of parameter names that stay as they are, such as "text_tower"
    # of what came trained; what is fresh, in an import too, moves at the full rate
    learning_rate_scale: PositiveOrZero = 1.0


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Vocabulary of captions and phrases. `path`: vocab.txt or tokenizer.json (WordPiece), *.model (SentencePiece)."""

    # or "dataset": the vocabulary that `svilm prepare` wrote beside the records
    path: LocalPath = "builtin:moving_shapes"
    lowercase: bool = True


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """From a prepared dataset to batches."""

    dataset: LocalPath = ""  # folder that `svilm prepare` wrote
    split: Text = "train"
    # of task video_text: one caption | paragraph, all joined | sentences, the mean of theirs
    text: Literal["caption", "paragraph", "sentences"] = "caption"
    # sentences a video with their times, for `text="sentences"` and multi-level alignment
    num_sentences: Annotated[int, Range(0, 1024)] = 0
    workers: Annotated[int, Range(0, 1024)] = 0  # decoding processes; 0: threads of the main process
    threads: Annotated[int, Range(1, 1024)] = 2  # decoding threads of each process
    prefetch: Annotated[int, Range(1, 1024)] = 2  # batches held ready
    cache_bytes: Annotated[int, Range(0, 2**50)] = 0  # decoded clips kept in memory, for datasets that fit
    shuffle_block: Count = 1  # consecutive records that stay together in a batch: look-alikes as hard negatives
    random_crop: bool = True
    crop_scale: tuple[Portion, Portion] = (0.5, 1.0)  # share of the frame's area
    crop_ratio: tuple[Ratio, Ratio] = (0.75, 1.333)
    flip: bool = True  # never where a caption says left or right
    num_phrases: Annotated[int, Range(1, 1024)] = 2  # K phrases a caption [P]
    prompts: Annotated[tuple[Text, ...], NonEmpty()] = ("a video of {}",)  # [A]
    max_failure_fraction: Share = 0.01  # of clips that do not decode before training stops


@dataclasses.dataclass(frozen=True)
class SpliceConfig:
    """Cut and paste (METHOD 1.3)."""

    enabled: bool = True
    prob: Portion = 1.0  # of the clips that are spliced [P: all]; the others are seen whole
    partner: Literal["roll", "derangement"] = "roll"  # [C]
    block: Annotated[int, Range(2, 65_536)] = 8  # rows that exchange backgrounds; never straddles a device


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer and schedule (METHOD 1.6)."""

    name: Literal["sgd", "adamw", "muon"] = "sgd"  # sgd [A] | adamw | muon [C]
    learning_rate: Annotated[float, Range(0, 3e38, low_included=False)] = 0.1  # [A]
    momentum: Decay = 0.9  # sgd, muon
    beta1: Decay = 0.9  # adamw, and what muon leaves to Adam
    beta2: Decay = 0.98
    eps: Epsilon = 1e-8
    weight_decay: PositiveOrZero = 1e-4  # on matrices only: no biases, norms, embeddings, logit scale
    clip_norm: PositiveOrZero = 1.0  # of the global gradient; 0: off
    warmup_fraction: Annotated[float, Range(0, 1, high_included=False)] = 0.05  # [A]
    final_lr_fraction: Share = 0.0  # last learning rate as a share of the peak
    muon_rms: Positive = 0.2  # of a muon update at learning rate 1; 0.2: as large as AdamW's [C]
    muon_start_fraction: Share = 0.0  # share of the steps in which Adam moves the matrices, too, before muon does [C]
    ema_decay: Decay = 0.0  # decay of averaged parameters; 0: none kept


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices and how parameters lie on them."""

    preset: Literal["dp", "fsdp", "fsdp_tp", "fsdp_seq"] = "dp"
    tensor: Count = 1  # devices along the tensor axis (fsdp_tp)
    seq: Count = 1  # devices that share the tokens of a clip (fsdp_seq)
    # groups of devices with a slow network between; parameters are whole in each. 0: as they say
    num_slices: CountOrZero = 0
    max_replicated_fraction: Share = 0.02  # parameters that may end up replicated under fsdp and fsdp_tp


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    batch_size: Count = 1024  # global, all devices [A]
    epochs: Positive = 10.0  # [A]; ignored where steps > 0
    steps: CountOrZero = 0
    seed: Annotated[int, Range(0, LARGEST - 1)] = 0
    log_every: Count = 50  # steps
    eval_every: CountOrZero = 0  # steps; 0: at the end only
    checkpoint_every: Count = 1000  # steps; the last step is always saved
    checkpoint_seconds: PositiveOrZero = 0.0  # also save after so many seconds; 0: never
    max_to_keep: Count = 3
    # that a step, a save or an evaluation may last before the run ends; 0: no limit
    watchdog_minutes: PositiveOrZero = 60.0
    # without a sign of life of a process, after which the other processes of the run end with status 71
    lost_process_seconds: Annotated[float, Range(1, 1e6)] = 100.0
    microbatches: Count = 1  # parts of a batch that are encoded one after another, for batches beyond memory
    accumulation: Literal["gradcache", "mean"] = "gradcache"  # a mean of the parts' losses is refused under a contrast
    # folder of compiled programs, from which a resumed run takes them; "": none; "auto": in the user's cache folder
    compilation_cache: LocalPath = "auto"


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment.

    `objectives` and `evaluators` are open tables, name -> options. Each objective in `svilm_jax/objectives` and each
    evaluator in `svilm_jax/evaluation` declares the schema of its options, against which `svilm_jax/cli/config_file.py`
    checks the tables.
    """

    task: Task = "video_text"
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
