"""Tests of the location of the compilation cache; tests/training/test_resume.py tests its use by a resumed run."""

from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from svilm_jax.config import ConfigError
from svilm_jax.training.compilation_cache import set_compilation_cache


@pytest.fixture
def restored():
    """JAX's settings as they were."""
    names = ["dir", "max_size"]
    before = {f"jax_compilation_cache_{name}": getattr(jax.config, f"jax_compilation_cache_{name}") for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.mark.usefixtures("restored")
def test_the_folder_is_the_one_that_is_named_or_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "by_the_environment"))
    assert set_compilation_cache("auto") == tmp_path / "by_the_environment"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    assert set_compilation_cache("auto") == tmp_path / "svilm_jax" / "compiled"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "svilm_jax" / "compiled")
    assert set_compilation_cache(str(tmp_path / "own")) == tmp_path / "own"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    assert set_compilation_cache("") is None
    assert not jax.config.jax_compilation_cache_dir


@pytest.mark.usefixtures("restored")
def test_a_folder_that_cannot_be_made_is_an_error_only_where_it_was_named(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"config\.train\.compilation_cache=.*file/x: cannot be written to"):
        set_compilation_cache(str(file / "x"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert set_compilation_cache("auto") is None
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert set_compilation_cache("auto") is None
