"""Page of a sweep, `results.html`: table of trials, statistics over seeds, and curves of the loss; self-contained."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from svilm_jax.filesystem.atomic_write import atomic_write
from svilm_jax.sweeps.attempts import State
from svilm_jax.sweeps.importances import estimate_importances
from svilm_jax.sweeps.plots import plot_losses, plot_parallel
from svilm_jax.sweeps.progress import duration
from svilm_jax.sweeps.results import Row, ordered_keys
from svilm_jax.sweeps.settings import SEEDS, group_by_setting, shown


def write_page(file: Path, folder: Path, rows: Sequence[Row], metric: str = "") -> None:
    """Writes the page of a sweep.

    Args:
      file: the page.
      folder: folder of the sweep, with the `metrics.jsonl` of its trials.
      rows: the trials.
      metric: of the parallel coordinates and importances; "": the first one.
    """
    settings = group_by_setting(rows)
    keys = ordered_keys(row.trial.changes for row in rows)
    names = ordered_keys(row.metrics for row in rows)
    setting_keys = [key for key in keys if key not in SEEDS]
    metric = metric or next(iter(names), "")
    loader = jinja2.PackageLoader("svilm_jax.sweeps", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(shown=shown, duration=duration)
    text = environment.get_template("results.html").render(
        title=folder.absolute().name,
        rows=rows,
        keys=keys,
        setting_keys=setting_keys,
        names=names,
        settings=settings,
        plot=plot_losses(folder, settings),
        metric=metric,
        parallel=plot_parallel(settings, setting_keys, metric),
        importances=estimate_importances(settings, setting_keys, metric),
        refresh=any(row.state is State.RUNNING for row in rows),
        states={state.value: sum(row.state is state for row in rows) for state in State},
    )
    with atomic_write(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
