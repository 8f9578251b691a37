"""Distributed preparation as Apache Beam pipelines, with the same result as a local run.

Workers read the videos and write re-encoded files under the paths that the launching process uses, and return their
results through files in OUT: both must be on storage that all workers mount.
"""

import contextlib
import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from svilm_data.pipeline.errors import PreparationError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Items per pipeline. More would have to be held in memory and be lost on failure; fewer would start a cluster too
# often.
WAVE = 10_000


@dataclasses.dataclass(frozen=True)
class BeamOptions:
    """The runner, by Beam's name (DirectRunner, DataflowRunner, FlinkRunner, ...), with its options."""

    runner: str
    options: tuple[str, ...] = ()


class BeamWorkers:
    """Beam counterpart of `workers.Workers`; each `map` runs a sequence of pipelines."""

    def __init__(self, beam: BeamOptions, folder: Path):
        """Checks the options.

        Args:
          beam: runner and its options.
          folder: temporary folder for results, on storage that all workers mount.

        Raises:
          PreparationError: Beam is not installed, or does not know the runner or an option value.
        """
        try:
            from apache_beam.options.pipeline_options import PipelineOptions
            from apache_beam.runners import create_runner
        except ImportError as error:
            raise PreparationError(
                f"--runner {beam.runner} needs Apache Beam ({error}): pip install svilm_jax[beam]"
            ) from error
        try:
            create_runner(beam.runner)
            self._options = PipelineOptions([f"--runner={beam.runner}", *beam.options])
            self._options.get_all_options()
        except (ValueError, ImportError, AttributeError) as error:
            raise PreparationError(f"--runner {beam.runner}: {error}") from error
        except SystemExit as error:  # raised by Beam's own argument parser, which has printed the reason
            raise PreparationError(f"--beam-option {' '.join(beam.options)}: not an option of Beam") from error
        self._runner, self._folder = beam.runner, folder

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], *, task: str, chunk: int = 1
    ) -> Iterator[_Result]:
        """Yields `function` of every item, in the order of the items.

        Args:
          function: importable by name; its results are JSON values, and tuples are returned as lists.
          items: picklable; the items of one pipeline are held in memory at a time.
          task: description of the work, for errors.
          chunk: ignored, since Beam determines its own bundles.

        Raises:
          PreparationError: a pipeline failed.
        """
        source = iter(items)
        while wave := list(itertools.islice(source, WAVE)):
            yield from self._run(function, wave, task)

    def close(self) -> None:
        """Removes the results folder."""

    def _run(self, function: Callable[[_Item], _Result], wave: Sequence[_Item], task: str) -> list[_Result]:
        import apache_beam as beam

        shutil.rmtree(self._folder, ignore_errors=True)  # left by a killed pipeline
        self._folder.mkdir(parents=True)
        try:
            with beam.Pipeline(options=self._options) as pipeline:
                _ = (
                    pipeline
                    | "items" >> beam.Create(list(enumerate(wave)))
                    | "spread" >> beam.Reshuffle()
                    | task >> beam.Map(_numbered, function)
                    | "results" >> beam.io.WriteToText(str(self._folder / "results"))
                )
            results: dict[int, Any] = {}
            for path in self._folder.glob("results-*"):
                with path.open(encoding="utf-8") as file:
                    results.update(json.loads(line) for line in file)
        except Exception as error:  # runners raise exceptions of their own types
            reason = str(error).strip().splitlines()[-1:] or [""]
            raise PreparationError(
                f"{task}: the pipeline of {self._runner} failed ({type(error).__name__}: {reason[0]})"
            ) from error
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        if len(results) != len(wave):
            raise PreparationError(
                f"{task}: {self._runner} left {len(results)} of {len(wave)} results in {self._folder}: --out must "
                "be on storage that all workers mount at this path"
            )
        return [results[number] for number in range(len(wave))]


@contextlib.contextmanager
def open_beam_workers(beam: BeamOptions, folder: Path) -> Iterator[BeamWorkers]:
    """Creates `BeamWorkers`, as `open_workers` creates local ones."""
    yield BeamWorkers(beam, folder)


def parse_beam_options(runner: str, options: Sequence[str]) -> BeamOptions | None:
    """Parses `--runner` and `--beam-option`; raises PreparationError for options without a runner."""
    if options and not runner:
        raise PreparationError("--beam-option: expected together with --runner")
    return BeamOptions(runner, tuple(options)) if runner else None


def _numbered(item: tuple[int, Any], function: Callable[[Any], Any]) -> str:
    return json.dumps([item[0], function(item[1])])
