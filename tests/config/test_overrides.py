"""Tests of overrides and config files: valid ones, and 200 invalid ones of each."""

import random

import pytest

from svilm_jax.cli.config_file import apply_overrides, read_config
from svilm_jax.config import ConfigError
from svilm_jax.config.overrides import parse_value

DEMO = "configs/pretrain/demo.py"
FILE = """from svilm_jax.config import default_config
def get_config():
    config = default_config()
    {line}
    return config
"""


def demo(*overrides):
    return read_config(DEMO, [f"--config.{override}" for override in overrides])


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "3", 3),
        (float, "3", 3.0),
        (float, "-1e-3", -1e-3),
        (str, "a=b,c", "a=b,c"),
        (bool, "True", True),
        (bool, "0", False),
        (tuple[int, ...], "(4, 2, 2)", (4, 2, 2)),
        (tuple[int, ...], "4,2,2", (4, 2, 2)),
        (tuple[int, ...], "4", (4,)),
        (tuple[int, ...], "()", ()),
        (tuple[int, ...], "", ()),
        (tuple[str, ...], "text_tower", ("text_tower",)),
        (tuple[str, ...], "text_tower,video_tower.norm", ("text_tower", "video_tower.norm")),
        (tuple[str, ...], "('a, b', 'c')", ("a, b", "c")),
        (tuple[str, ...], "a video of {}", ("a video of {}",)),
        (tuple[str, ...], "2024", ("2024",)),
        (tuple[float, float], "0.5,1", (0.5, 1)),
    ],
)
def test_text_is_parsed_by_the_type_of_the_field(hint, text, value):
    assert parse_value(hint, text, "config.x") == value


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("hint", [int, bool, float, tuple[int, int]])
@pytest.mark.parametrize("text", ["three", "(" * 3000, "9" * 5000 + "x", "[[[", "\x00", "é"])
def test_text_that_does_not_parse_is_rejected(hint, text):
    with pytest.raises(ConfigError, match=r"config\.x=.*: expected"):
        parse_value(hint, text, "config.x")


def test_every_option_of_an_open_table_can_be_set():
    config = demo(
        "objectives.spatial_grounding.temperature=0.1",
        "objectives.global_contrast.exchange=ring",
        "evaluators.retrieval.paragraph=joined",
        "evaluators.grounding.limit=5",
        "init.checkpoint=runs/x",
        "init.model.video.num_frames=20",
        "init.model.text.pool=mean",
    )
    assert config.objectives["spatial_grounding"] == {"weight": 5.0, "temperature": 0.1}
    assert config.objectives["global_contrast"] == {"weight": 1.0, "exchange": "ring"}
    assert config.evaluators["retrieval"] == {"split": "test", "paragraph": "joined"}
    assert config.evaluators["grounding"] == {"split": "test", "block_split": "validation", "limit": 5}
    assert config.init.model == {"video": {"num_frames": 20}, "text": {"pool": "mean"}}


def test_an_entry_that_the_file_does_not_name_is_added():
    config = read_config(
        f"{DEMO}:objectives=contrast",
        [
            "--config.objectives.spatial_grounding.temperature=0.1",
            "--config.evaluators.second.split=validation",
            "--config.evaluators.second.kind=retrieval",  # after an option of its own
        ],
    )
    assert config.objectives["spatial_grounding"] == {"temperature": 0.1}
    assert config.evaluators["second"] == {"kind": "retrieval", "split": "validation"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trian.steps=3", r"config\.trian: no such key; did you mean 'train'"),
        ("objectives.spatial_groundin.weight=1", "no such objective; did you mean 'spatial_grounding'"),
        ("objectives.spatial_grounding.temprature=1", r"spatial_grounding\.temprature: .*did you mean 'temperature'"),
        ("objectives.spatial_grounding.exchange=rings", r"exchange='rings': expected one of .*did you mean 'ring'"),
        ("objectives.spatial_grounding.temperature=0", r"temperature=0\.0: expected a number of at least 0\.0001"),
        ("objectives.spatial_grounding=1", r"expected config\.objectives\.NAME\.OPTION"),
        ("evaluators.retrival.split=x", r"did you mean 'retrieval'"),
        (
            "evaluators.retrieval.paragraf=joined",
            r"config\.evaluators\.retrieval\.paragraf: .*did you mean 'paragraph'",
        ),
        ("evaluators.retrieval.kind=3", r"config\.evaluators\.retrieval\.kind='3': expected one of"),
        ("init.model.vidio.frames=2", r"config\.init\.model\.vidio: no such key; did you mean 'video'"),
        ("init.model.head.num_layers=1", r"set config\.model\.head"),
        ("init.model.video=3", r"config\.init\.model\.video is a table"),
        ("model.video=3", r"config\.model\.video is a table: set one of its keys"),
        ("model.video.num_frames.x=1", r"config\.model\.video\.num_frames is a value and has no keys"),
        ("splice.enabled=tru", r"expected true or false; did you mean 'true'"),
        ("train.steps", r"expected --config\.KEY=VALUE"),
        ("train.epochs=5", r"config\.train\.epochs is not used with config\.train\.steps=560: it needs 0 there"),
        ("optimizer.name=adamw --config.optimizer.muon_rms=1", r"muon_rms is not used with .*name='adamw': .*'muon'"),
        ("init.model.video.num_frames=20", r"config\.init\.model\.video\.num_frames is not used with .*checkpoint=''"),
        (
            "train.accumulation=mean",
            r"accumulation is not used with config\.train\.microbatches=1: .* at least 2 there",
        ),
        ("mesh.max_replicated_fraction=0.5", r"max_replicated_fraction is not used with .*preset='dp'"),
        ("model.head.classes=a,b", r"head\.classes is not used with config\.task='video_text'"),
        ("input.task=questions", r"config\.input\.task: no such key"),
        ("model.head.max_classes=5", r"max_classes is not used with config\.task='video_text'"),
        ("evaluators..kind=retrieval", r"config\.evaluators\.\.kind: expected config\.evaluators\.NAME\.OPTION"),
    ],
)
def test_a_mistake_is_reported_in_one_line_with_the_nearest_name(override, message):
    with pytest.raises(ConfigError, match=message) as refused:
        demo(*override.split(" --config."))
    message = str(refused.value)
    assert "\n" not in message
    assert "\\" not in message
    assert "/tmp" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.clip_norm=-1",
        "optimizer.ema_decay=1.0",
        "optimizer.learning_rate=nan",
        "optimizer.learning_rate=-1e-3",
        "optimizer.warmup_fraction=1.5",
        "train.steps=-1",
        "train.steps=99999999999",
        "train.watchdog_minutes=-1",
        "model.video.tubelet_size=0,8,8",
        "model.grouping.after_layers=()",
        "model.grouping.after_layers=0,1",
        "model.text.phrase_length=100",
        "input.crop_ratio=0,0",
        "input.prompts=",
        "input.split=",
        "init.freeze='',",
        "evaluators.retrieval.prefix=",
        "objectives.global_contrast.weight=-1",
    ],
)
def test_an_invalid_value_on_the_command_line_names_its_key(override):
    with pytest.raises(ConfigError, match=rf"^config\.{override.partition('=')[0]}"):
        demo(override)


def test_overrides_of_a_saved_config_are_reported_in_the_same_way():
    config = demo()
    assert apply_overrides(config, ["--config.evaluators.retrieval.limit=3"]).evaluators["retrieval"]["limit"] == 3
    with pytest.raises(ConfigError) as refused:
        apply_overrides(config, ["--config.evaluators.retrieval.lmit=3"])
    assert str(refused.value).startswith("config.evaluators.retrieval.lmit: no such key; did you mean 'limit'?")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.model.vidio = 1", r"line 4: no such key: 'vidio'; did you mean 'video'\?$"),
        ("config.train.steps = 'x'", r"line 4: TypeError: .*steps"),
        ("config.objectives.global_contrast = {'wieght': 1.0}", r"global_contrast\.wieght: .*did you mean 'weight'"),
        ("config.objectives.global_contrast = 3", r"config\.objectives\.global_contrast=3: expected a table"),
        ("config.evaluators = {'retrieval': {'splt': 'x'}}", r"retrieval\.splt: .*did you mean 'split'"),
        ("config.evaluators = {'retrieval': None}", r"config\.evaluators\.retrieval=None: expected a table"),
        ("config.evaluators = None", r"config\.evaluators|NoneType"),
        ("1 / 0", "line 4: ZeroDivisionError"),
        ("import nowhere", "line 4: ModuleNotFoundError"),
        ("return 3", r"get_config\(\) returned int"),
        ("(", "SyntaxError"),
        ("config.input.prompts = ('a\\ud800 {}',)", None),
    ],
)
def test_a_file_that_fails_is_reported_in_one_line(tmp_path, line, message):
    file = tmp_path / "config.py"
    file.write_text(FILE.format(line=line))
    if message is None:
        read_config(str(file), [])
        return
    with pytest.raises(ConfigError, match=message) as refused:
        read_config(str(file), [])
    assert "\n" not in str(refused.value)


def test_a_file_takes_arguments_only_if_its_function_does(tmp_path):
    file = tmp_path / "config.py"
    file.write_text("from svilm_jax.config import default_config\ndef get_config():\n    return default_config()\n")
    read_config(str(file), [])
    with pytest.raises(ConfigError, match="TypeError: get_config"):
        read_config(f"{file}:steps=3", [])
    file.write_text("x = 3\n")
    with pytest.raises(ConfigError, match="no function get_config"):
        read_config(str(file), [])


LINES = [
    "optimizer.learning_rate=1e-3",
    "optimizer.clip_norm=1.0",
    "model.video.tubelet_size=(2,16,16)",
    "model.video.stem=4,2,2",
    "model.grouping.after_layers=(1,2,3)",
    "input.prompts=('a video of {}',)",
    "init.freeze=text_tower",
    "objectives.spatial_grounding.temperature=0.1",
    "evaluators.retrieval.kind=retrieval",
    "evaluators.grounding.readout=logits",
    "train.steps=100",
    "splice.enabled=true",
    "mesh.preset=fsdp",
    "tokenizer.path=builtin:moving_shapes",
]
PIECES = ["", ".", "..", "=", "-", "(", ")", ",", "[", "{", "'", '"', "\\", "\n", "\t", "\x00", "é", "😀", "\ud800"]
PIECES += ["nan", "inf", "-1", "0", "1e400", "9" * 30, "None", "True", "config", "__class__", "0x10", "1_0", "//", "#"]


def refused(function, *arguments):
    """Returns the message of a rejection, or "" if there is none."""
    try:
        function(*arguments)
    except ConfigError as error:
        return str(error)
    return ""


def mutated(line, rng):
    """Returns a line with one to three pieces inserted, removed or doubled."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(line) + 1)
        stop = min(len(line), start + rng.choice((0, 0, 1, 3)))
        line = line[:start] + rng.choice([*PIECES, line[start:stop] * 2]) + line[stop:]
    return line


def test_mutated_overrides_never_end_in_a_traceback():
    rng = random.Random(0)
    messages = [refused(demo, mutated(rng.choice(LINES), rng)) for _ in range(200)]
    assert not [message for message in messages if len(message.splitlines()) > 1]
    assert 100 < sum(map(bool, messages)) < 200


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_mutated_lines_of_a_file_never_end_in_a_traceback(tmp_path):
    rng, file, messages = random.Random(1), tmp_path / "config.py", []
    for _ in range(200):
        key, _, value = rng.choice(LINES).partition("=")
        value = value if value[0] in "(0123456789" else repr(value)
        line = mutated(f"config.{key} = {value}", rng)
        file.write_bytes(FILE.format(line=line).encode("utf-8", "surrogatepass"))
        messages.append(refused(read_config, str(file), []))
    assert not [message for message in messages if len(message.splitlines()) > 1]
    assert 100 < sum(map(bool, messages)) < 200
