"""Compiled programs are kept where the config says, and a run that goes on finds them there."""

import shutil
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from svilm_jax.config import ConfigError
from svilm_jax.main import main
from svilm_jax.training.compilation_cache import set_compilation_cache

HITS, MISSES = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"
TINY = "tests/tiny.py"


@pytest.fixture
def restored():
    """JAX's settings as they were."""
    names = ["dir", "max_size"]
    before = {f"jax_compilation_cache_{name}": getattr(jax.config, f"jax_compilation_cache_{name}") for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def counted(monkeypatch, restored):
    """Name of an event of JAX -> how often it happened. However short, every program is kept."""
    events: dict[str, int] = {}

    def listen(event, **_):
        events[event] = events.get(event, 0) + 1

    jax.monitoring.register_event_listener(listen)
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()
    yield events
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    jax.monitoring.unregister_event_listener(listen)


@pytest.mark.usefixtures("compiled_in_haste")
def test_a_run_that_is_resumed_takes_its_programs_from_the_folder(moving_shapes, tmp_path, counted):
    work, cache = tmp_path / "run", tmp_path / "cache"
    changes = {"input.dataset": moving_shapes, "train.steps": 2, "train.checkpoint_every": 1}
    changes |= {"train.compilation_cache": cache, "model.video.layers": 1, "model.grouping.after_layers": "1"}
    command = ["train", f"--config={TINY}", f"--workdir={work}", *(f"--config.{k}={v}" for k, v in changes.items())]
    assert main(command) == 0
    kept = {path.name for path in cache.glob("*-cache")}
    assert kept
    assert any("jit_step" in name for name in kept)
    shutil.rmtree(work / "checkpoints" / "2")
    counted.clear()
    jax.clear_caches()  # as a new process has it
    assert main(command) == 0
    assert counted[HITS] >= 1
    steps = {path.name for path in cache.glob("jit_step*-cache")}
    assert steps == {name for name in kept if name.startswith("jit_step")}  # the step was not compiled again


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
