"""Tests of the location of the compilation cache; tests/training/test_resume.py tests its use by a resumed run."""

from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from svilm_jax.config import ConfigError, default_config, resolve
from svilm_jax.training.compilation_cache import set_compilation_cache

SETTINGS = [
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_persistent_cache_enable_xla_caches",
]


@pytest.fixture(autouse=True)
def _restored():
    """JAX's settings as they were."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_the_folder_is_the_one_that_is_named_or_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "by_the_environment"))
    assert set_compilation_cache("auto") == str(tmp_path / "by_the_environment")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    assert set_compilation_cache("auto") == str(tmp_path / "svilm_jax" / "compiled")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "svilm_jax" / "compiled")
    assert set_compilation_cache(str(tmp_path / "own")) == str(tmp_path / "own")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    assert set_compilation_cache("") == ""
    assert not jax.config.jax_compilation_cache_dir


def test_a_folder_that_cannot_be_made_is_an_error_only_where_it_was_named(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"config\.train\.compilation_cache=.*file/x: cannot be written to"):
        set_compilation_cache(str(file / "x"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert set_compilation_cache("auto") == ""
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert set_compilation_cache("auto") == ""


def test_several_processes_have_a_folder_of_their_own_without_a_limit(tmp_path, monkeypatch):
    """Without a coordination service, this process is the only one to agree with."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr("svilm_jax.training.compilation_cache.exchange", lambda name, mine: [mine])
    before = jax.config.jax_compilation_cache_max_size
    assert set_compilation_cache("auto") == str(tmp_path / "svilm_jax" / "compiled_by_processes")
    assert jax.config.jax_compilation_cache_max_size == before
    # Another process does not see what this one wrote.
    monkeypatch.setattr("svilm_jax.training.compilation_cache.exchange", lambda name, mine: [mine, "n2 does not see"])
    assert set_compilation_cache("auto") == ""
    with pytest.raises(ConfigError, match="own: n2 does not see; name another folder"):
        set_compilation_cache(str(tmp_path / "own"))
    assert not [*tmp_path.rglob(".svilm_*")]


def test_an_object_store_that_cannot_be_reached_is_refused_in_one_line():
    """Here, for lack of the package that reaches it."""
    message = r"config\.train\.compilation_cache=az://b/cache: cannot be written to \(.*\); name another folder"
    with pytest.raises(ConfigError, match=message):
        set_compilation_cache("az://b/cache")


def test_other_schemes_are_refused_by_the_schema():
    config = default_config()
    config.train.compilation_cache = "gs://b/cache"
    assert resolve(config).train.compilation_cache == "gs://b/cache"
    config.train.compilation_cache = "hdfs://b/cache"
    with pytest.raises(ConfigError, match=r"or gs://\.\.\. or s3://\.\.\.; hdfs:// is not supported"):
        resolve(config)
