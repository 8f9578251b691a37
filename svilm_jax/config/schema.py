"""Experiment config schema: every field with its default, the grade of the default, and its range or choices.

A config file returns a locked `ConfigDict` that `default_config()` creates and the file modifies field by field.
`resolve` validates it against this schema and converts it once, at startup, into the frozen dataclasses below; no other
code reads the `ConfigDict`. For the grades `Stated`, `Attributed` and `Chosen`, see `svilm_jax/config/grades.py`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from svilm_jax.config.constraints import (
    LARGEST,
    Count,
    CountOrZero,
    Decay,
    Fraction,
    LocalOrStoredPath,
    LocalPath,
    NonEmpty,
    PartialOf,
    Positive,
    PositiveOrZero,
    Range,
    Temperature,
    Text,
)
from svilm_jax.config.grades import Attributed, Chosen, Stated

Options = Mapping[str, Any]
# What a model is trained for. It determines the labels of a clip in a batch and the head that is added to the towers.
Task = Literal["video_text", "question_answering", "action_recognition", "localization"]
HEAD_TASKS: tuple[Task, ...] = ("question_answering", "action_recognition")  # those with a head on the towers

Writer = Literal["console", "jsonl", "tensorboard", "wandb", "trackio"]
Activation = Literal["gelu", "gelu_tanh", "relu"]
Epsilon = Annotated[float, Range(0, 1, low_included=False)]
Layers = Annotated[int, Range(0, 1024)]
Width = Annotated[int, Range(0, 65_536)]
Heads = Annotated[int, Range(0, 1024)]
Ratio = Annotated[float, Range(0, 64, low_included=False)]
Portion = Annotated[float, Range(0, 1, low_included=False)]
Pixels = Annotated[int, Range(1, 8192)]
Stride = Annotated[int, Range(2, 64)]
Frames = Annotated[int, Range(1, 4096)]
SHORTEST_TEXT = 3  # tokens: a first one, a last one and one in between


@dataclasses.dataclass(frozen=True)
class VideoConfig:
    """Video tower and its input clips. A size of 0 is that of `ModelConfig.variant`."""

    num_frames: Stated[Frames] = 32
    image_size: Attributed[Pixels] = 224  # height and width in pixels
    tubelet_size: Attributed[tuple[Frames, Pixels, Pixels]] = (2, 16, 16)  # frames, height, width
    # strides of the convolutions that embed a patch, such as (4, 2, 2); (): one linear projection
    stem: Chosen[tuple[Stride, ...]] = ()
    num_layers: Attributed[Layers] = 0
    hidden_size: Attributed[Width] = 0
    num_heads: Attributed[Heads] = 0
    mlp_ratio: Attributed[Ratio] = 4.0
    activation: Attributed[Activation] = "gelu"
    norm_epsilon: Attributed[Epsilon] = 1e-6  # of the layer norms, as in ViT
    # factorized: one embedding per temporal index plus one per position; joint: one per token
    position_table: Chosen[Literal["factorized", "joint"]] = "factorized"
    position_scale: Chosen[Annotated[float, Range(0, 100)]] = 1.0  # magnitude of their initial sinusoids


@dataclasses.dataclass(frozen=True)
class GroupingConfig:
    """Group tokens and grouping blocks (docs/method.md, 1.1)."""

    num_groups: Stated[Annotated[int, Range(1, 65_536)]] = 32
    after_layers: Stated[tuple[Count, ...]] = (6, 9, 12)  # layers followed by a grouping block, counted from 1
    # of video tokens to groups in training; evaluation takes the argmax, except for soft
    assignment: Chosen[Literal["hard", "gumbel", "soft"]] = "hard"
    in_layers: Chosen[bool] = True  # concatenate group tokens to the video tokens in every transformer layer


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Text tower, with BERT's architecture. A size of 0 is that of `ModelConfig.variant`."""

    # tokens of a caption, [CLS] and [SEP] included
    max_length: Attributed[Annotated[int, Range(SHORTEST_TEXT, 65_536)]] = 32
    phrase_length: Chosen[Annotated[int, Range(0, 65_536)]] = 0  # tokens of a prompted phrase; 0: as `max_length`
    num_layers: Attributed[Layers] = 0
    hidden_size: Attributed[Width] = 0
    num_heads: Attributed[Heads] = 0
    mlp_ratio: Attributed[Ratio] = 4.0
    # rows of the position table, at least `max_length`; BERT has 512
    max_positions: Attributed[Annotated[int, Range(SHORTEST_TEXT, 65_536)]] = 512
    activation: Attributed[Activation] = "gelu"
    norm_epsilon: Attributed[Epsilon] = 1e-12  # of the layer norms, as in BERT
    # features of a sentence: those of its [CLS] token, or the mean over all its tokens
    pool: Attributed[Literal["cls", "mean"]] = "cls"


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """Head that `Config.task` adds to the two towers (docs/method.md, 1.7)."""

    classes: Chosen[tuple[str, ...]] = ()  # answers or labels in the order of their indices; (): from the dataset
    max_classes: Chosen[CountOrZero] = 0  # use only the first classes, for answers the most frequent ones; 0: all
    # of question_answering: layers of cross-attention from the question to the clip
    num_layers: Chosen[Annotated[int, Range(1, 1024)]] = 2


@dataclasses.dataclass(frozen=True)
class LocalizationConfig:
    """G-TAD on sliding-window features (docs/method.md, 1.7), for the task localization."""

    features: Chosen[LocalPath] = ""  # output folder of `svilm extract-features` for the training split
    feature_dim: Chosen[Width] = 0  # 0: from that folder
    num_steps: Stated[Annotated[int, Range(2, 10_000)]] = 100  # length to which the features of a video are resized
    hidden_size: Stated[Annotated[int, Range(1, 65_536)]] = 256
    num_neighbors: Stated[Annotated[int, Range(1, 10_000)]] = 3  # edges per step of the semantic graph
    num_samples: Stated[Annotated[int, Range(1, 10_000)]] = 32  # samples inside an anchor
    num_context_samples: Stated[Annotated[int, Range(0, 10_000)]] = 4  # samples on each side of an anchor
    # also classify steps; without it, the evaluator needs the scores of an external classifier
    classify: Chosen[bool] = True


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The two towers and their joint embedding space."""

    variant: Attributed[Literal["Mini", "Ti", "S", "B", "L"]] = "B"
    video: VideoConfig = VideoConfig()
    grouping: GroupingConfig = GroupingConfig()
    text: TextConfig = TextConfig()
    embed_dim: Attributed[Annotated[int, Range(1, 65_536)]] = 256  # C, width of the joint space
    clip_pool: Chosen[Literal["tokens", "groups", "both"]] = "tokens"  # mean over these tokens embeds a clip
    temperature: Chosen[Temperature] = 0.07  # initial temperature of the global contrast
    max_logit_scale: Chosen[Positive] = 100.0  # to which a step clamps 1/temperature after its update
    compute_dtype: Chosen[Literal["auto", "float32", "bfloat16"]] = "auto"  # auto: float32 on CPU, else bfloat16
    attention: Chosen[Literal["auto", "xla", "cudnn", "splash", "rowwise"]] = "auto"
    remat: Chosen[Literal["none", "dots", "full"]] = "none"
    scan_unroll: Chosen[Annotated[int, Range(0, 1024)]] = 1  # layers unrolled in the scan over depth; 0: all
    head: HeadConfig = HeadConfig()
    localization: LocalizationConfig = LocalizationConfig()


ModelChanges = Annotated[Options, PartialOf(ModelConfig, without=("head",))]


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """Initial parameters, and which of them are trained.

    With a checkpoint, its tokenizer and its `model` (except `model.head`) replace those of the config; `model` here
    changes fields of it. Position embeddings are resampled if the number of frames or the image size changes.
    """

    # --workdir of `svilm train`, WORKDIR/checkpoints/STEP, or a model directory of `svilm import` or `svilm export`
    checkpoint: Chosen[LocalPath] = ""
    model: Chosen[ModelChanges] = dataclasses.field(default_factory=dict)  # such as {"video": {"num_frames": 32}}
    freeze: Chosen[tuple[Text, ...]] = ()  # prefixes of the names of parameters to keep fixed, such as "text_tower"
    # learning-rate multiplier of pretrained parameters; newly initialized ones train at the full rate
    learning_rate_scale: Chosen[PositiveOrZero] = 1.0


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Tokenizer of captions and phrases."""

    # vocab.txt or tokenizer.json (WordPiece), *.model (SentencePiece), or "dataset": the vocabulary that
    # `svilm prepare` wrote next to the records
    path: Chosen[LocalPath] = "builtin:moving_shapes"
    lowercase: Chosen[bool] = True


@dataclasses.dataclass(frozen=True)
class MixtureEntry:
    """One dataset of a mixture."""

    dataset: Chosen[LocalPath] = ""  # output folder of `svilm prepare`
    split: Chosen[Text] = "train"
    weight: Chosen[Positive] = 1.0  # share of the clips, relative to the other weights
    text: Chosen[Literal["", "caption", "paragraph", "sentences"]] = ""  # "": as `input.text`
    prompts: Chosen[tuple[Text, ...]] = ()  # (): as `input.prompts`


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """Input pipeline from a prepared dataset to batches."""

    # output folder of `svilm prepare`; with a mixture, only of evaluators that name no dataset and of the vocabulary
    dataset: Chosen[LocalPath] = ""
    split: Chosen[Text] = "train"
    # name -> dataset: trains on several datasets, instead of `dataset` and `split`
    mixture: Chosen[Mapping[str, MixtureEntry]] = dataclasses.field(default_factory=dict)
    # of the task video_text: one caption | all captions joined | the mean of the embeddings of the captions
    text: Chosen[Literal["caption", "paragraph", "sentences"]] = "caption"
    # sentences per video, with their times, for text=sentences and multi-level alignment
    num_sentences: Chosen[Annotated[int, Range(0, 1024)]] = 0
    # captions | clauses of the chosen caption | the question with its answer, for the global level on questions alone
    sentences: Chosen[Literal["captions", "clauses", "question"]] = "captions"
    workers: Chosen[Annotated[int, Range(0, 1024)]] = 0  # decoding processes; 0: threads of the main process
    threads: Chosen[Annotated[int, Range(1, 1024)]] = 2  # decoding threads per process
    prefetch: Chosen[Annotated[int, Range(1, 1024)]] = 2  # batches decoded ahead
    cache_bytes: Chosen[Annotated[int, Range(0, 2**50)]] = 0  # memory for decoded clips, for datasets that fit
    shuffle_block: Chosen[Count] = 1  # consecutive records that stay in one batch: look-alikes as hard negatives
    random_crop: Chosen[bool] = True
    crop_scale: Chosen[tuple[Portion, Portion]] = (0.5, 1.0)  # fraction of the area of the frame
    crop_ratio: Chosen[tuple[Ratio, Ratio]] = (0.75, 1.333)
    flip: Chosen[bool] = True  # horizontal, except for texts that mention left or right
    num_phrases: Stated[Annotated[int, Range(1, 1024)]] = 2  # K, noun phrases per caption
    prompts: Attributed[Annotated[tuple[Text, ...], NonEmpty()]] = ("a video of {}",)
    max_failure_fraction: Chosen[Fraction] = 0.01  # of clips that cannot be decoded before training stops


@dataclasses.dataclass(frozen=True)
class SpliceConfig:
    """Cut and paste: splicing part of one clip into another (docs/method.md, 1.3)."""

    enabled: Stated[bool] = True
    prob: Stated[Portion] = 1.0  # probability that a clip is spliced
    # fraction of the clips that stay whole in any case, on which the accuracy of the temporal index alone is measured
    min_whole_fraction: Chosen[Fraction] = 0.0625
    partner: Chosen[Literal["roll", "derangement"]] = "roll"
    # rows that exchange backgrounds, a divisor of the rows of a device; 0: the largest such divisor up to 8
    block: Chosen[Annotated[int, Range(0, 65_536)]] = 0


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer and schedule (docs/method.md, 1.6)."""

    # adam adds weight decay to the gradients, as PyTorch's does; in the others it acts on the weights
    name: Attributed[Literal["sgd", "adamw", "adam", "muon"]] = "sgd"
    learning_rate: Attributed[Annotated[float, Range(0, 3e38, low_included=False)]] = 0.1  # peak
    momentum: Attributed[Decay] = 0.9  # of sgd and muon
    beta1: Chosen[Decay] = 0.9  # of adamw, adam, and of Adam for the parameters that muon does not train
    beta2: Chosen[Decay] = 0.98
    eps: Chosen[Epsilon] = 1e-8
    weight_decay: Chosen[PositiveOrZero] = 1e-4
    # matrices: not biases, norms, embeddings or the logit scale; all: every parameter
    decayed: Chosen[Literal["matrices", "all"]] = "matrices"
    clip_norm: Chosen[PositiveOrZero] = 1.0  # of the global gradient; 0: no clipping
    warmup_fraction: Attributed[Annotated[float, Range(0, 1, high_included=False)]] = 0.05  # of all steps
    schedule: Attributed[Literal["cosine", "steps"]] = "cosine"  # after warm-up
    final_lr_fraction: Chosen[Fraction] = 0.0  # final learning rate relative to the peak
    # of all steps, after each of which `steps` multiplies the learning rate by `drop_factor`
    drops: Chosen[Annotated[tuple[Portion, ...], NonEmpty()]] = (0.5,)
    drop_factor: Chosen[Portion] = 0.1
    muon_rms: Chosen[Positive] = 0.2  # RMS of a muon update at learning rate 1; 0.2 is that of AdamW
    muon_start_fraction: Chosen[Fraction] = 0.0  # of all steps in which Adam trains the matrices before muon does
    ema_decay: Chosen[Decay] = 0.0  # of the averaged parameters; 0: no average


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Device mesh and parameter sharding."""

    preset: Chosen[Literal["dp", "fsdp", "fsdp_tp", "fsdp_seq"]] = "dp"
    tensor: Chosen[Count] = 1  # devices along the tensor axis (fsdp_tp)
    seq: Chosen[Count] = 1  # devices that share the tokens of a clip (fsdp_seq)
    # slices connected by a slow network, each with a replica of the parameters; 0: as the devices report
    num_slices: Chosen[CountOrZero] = 0
    max_replicated_fraction: Chosen[Fraction] = 0.02  # of parameters that a sharded preset may leave replicated


@dataclasses.dataclass(frozen=True)
class TrackingConfig:
    """What the writers `wandb` and `trackio` of `TrainConfig.writers` are told about a run."""

    project: Chosen[Text] = "svilm"
    name: Chosen[str] = ""  # of the run; "": that of the workdir
    group: Chosen[str] = ""  # of runs that belong together
    # offline: nothing is sent; `wandb sync` uploads the runs later, and trackio keeps its local database
    mode: Chosen[Literal["online", "offline"]] = "online"


@dataclasses.dataclass(frozen=True)
class BestConfig:
    """Selection of a checkpoint by validation, kept beside the newest ones (docs/configs.md)."""

    # metric of an evaluator, such as validation/t2v_R1, whose split must not be the reported one; "": no selection
    metric: Chosen[str] = ""
    mode: Chosen[Literal["max", "min"]] = "max"  # direction in which the metric improves
    patience: Chosen[CountOrZero] = 0  # evaluations without improvement after which training ends; 0: never


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Training loop."""

    batch_size: Attributed[Count] = 1024  # global, over all devices
    # of captions or questions, where a row shows one of those of its clip, otherwise of clips; used if steps is 0
    epochs: Attributed[Positive] = 10.0
    steps: Chosen[CountOrZero] = 0
    seed: Chosen[Annotated[int, Range(0, LARGEST - 1)]] = 0
    log_every: Chosen[Count] = 50  # steps
    writers: Chosen[tuple[Writer, ...]] = ("console", "jsonl", "tensorboard")  # of the metrics
    tracking: TrackingConfig = TrackingConfig()
    # (first, last) of the steps, counted from 1, that are traced by the profiler; (): none
    profile: Chosen[tuple[Count, ...]] = ()
    eval_every: Chosen[CountOrZero] = 0  # steps; 0: only at the end
    evaluators: Chosen[tuple[Text, ...]] = ()  # names of those that run every eval_every steps; (): all of them
    best: BestConfig = BestConfig()
    checkpoint_every: Chosen[Count] = 1000  # steps; the last step is always saved
    checkpoint_seconds: Chosen[PositiveOrZero] = 0.0  # save also after this time; 0: only by steps
    max_to_keep: Chosen[Count] = 3  # checkpoints
    # time limit of a step, a save or an evaluation, after which the run ends; 0: no limit
    watchdog_minutes: Chosen[PositiveOrZero] = 60.0
    # silence of a process after which the other processes of the run end with status 71
    lost_process_seconds: Chosen[Annotated[float, Range(1, 1e6)]] = 100.0
    microbatches: Chosen[Count] = 1  # parts of a batch encoded one after another, for batches that exceed memory
    # mean: average of the losses of the parts; rejected for contrastive objectives
    accumulation: Chosen[Literal["gradcache", "mean"]] = "gradcache"
    # folder of compiled programs for resumed runs, shared by all processes, also gs:// and s3://; "": none; "auto": in
    # the cache folder of the user
    compilation_cache: Chosen[LocalOrStoredPath] = "auto"


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment.

    `objectives` and `evaluators` are open tables, name -> options. Each objective in `svilm_jax/objectives` and each
    evaluator in `svilm_jax/evaluation` declares the schema of its options, against which `svilm_jax/cli/config_file.py`
    validates the tables.
    """

    task: Stated[Task] = "video_text"
    model: ModelConfig = ModelConfig()
    init: InitConfig = InitConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    input: InputConfig = InputConfig()
    splice: SpliceConfig = SpliceConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()
    objectives: Chosen[Options] = dataclasses.field(default_factory=dict)
    evaluators: Chosen[Options] = dataclasses.field(default_factory=dict)
