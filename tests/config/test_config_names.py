"""Resolution of `--config=NAME`: files, packaged configs, misspelled names."""

from pathlib import Path

import pytest

from svilm_jax.cli import config_file
from svilm_jax.cli.config_file import find_config_file, packaged_configs, read_config
from svilm_jax.config import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_config_of_the_checkout_has_a_name():
    names = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.glob("*/*.py"))
    assert list(packaged_configs()) == names
    assert {"pretrain/demo", "pretrain/svilm_b", "finetune/retrieval"} <= set(names)


@pytest.mark.parametrize("name", ["pretrain/demo", "pretrain/demo.py"])
def test_a_name_resolves_to_the_packaged_config_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config_file(name).read_text() == (CONFIGS / "pretrain" / "demo.py").read_text()


def test_arguments_and_overrides_apply_to_a_packaged_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frozen = read_config("pretrain/demo:text=frozen", ["--config.train.steps=7"])
    assert frozen.train.steps == 7
    assert frozen.init.freeze != read_config("pretrain/demo", []).init.freeze
    with pytest.raises(ConfigError, match=r"^--config=pretrain/demo:text=none: config argument text=none: expected"):
        read_config("pretrain/demo:text=none", [])


def test_a_file_takes_precedence_over_a_packaged_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "pretrain" / "demo.py"
    file.parent.mkdir()
    file.write_text("")
    assert find_config_file("pretrain/demo.py") == Path("pretrain/demo.py")
    assert find_config_file(str(file)) == file
    assert find_config_file("pretrain/demo") == packaged_configs()["pretrain/demo"]  # no file of exactly this name


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("pretrain/dmo", "pretrain/demo"),
        ("demo", "pretrain/demo"),
        ("retreival", "finetune/retrieval"),
        ("configs/pretrain/svilm_b.py", "pretrain/svilm_b"),
        ("runs/own/demo.py", "pretrain/demo"),
    ],
)
def test_a_misspelled_name_is_refused_with_the_closest_and_all_others(name, closest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        find_config_file(name)
    message = str(refused.value)
    assert message.startswith(f"--config={name}: no such file or packaged config; did you mean {closest}?")
    assert all(known in message for known in packaged_configs())
    assert "\n" not in message


@pytest.mark.parametrize("name", ["", "qqqqqq", "\x00"])
def test_other_names_are_refused_without_a_guess(name):
    with pytest.raises(ConfigError, match="no such file or packaged config \\(packaged: finetune/"):
        find_config_file(name)


def test_without_packaged_configs_only_files_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr(config_file, "packaged_configs", dict)
    with pytest.raises(ConfigError, match="^--config=pretrain/demo: no such file$"):
        find_config_file("pretrain/demo")
