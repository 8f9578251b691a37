"""Reader of the metrics.json of a run."""

from pathlib import Path

from svilm_jax.errors import UserError
from svilm_jax.filesystem.json_reader import JsonError, read_document


class MetricsFileError(UserError, ValueError):
    """A metrics.json with another content; the message names the file and the remedy."""


def read_metrics(path: Path) -> dict[str, float]:
    """Reads the flat object of numbers in a metrics.json; empty if the file does not exist.

    Raises:
      MetricsFileError: another content.
    """
    if not path.is_file():
        return {}
    try:
        found = read_document(path)
    except JsonError as error:
        raise MetricsFileError(f"{path}: not JSON ({error.reason}); evaluate the run again (`svilm eval`)") from error
    if not isinstance(found, dict) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in found.values()
    ):
        raise MetricsFileError(f"{path}: expected one flat object of numbers; evaluate the run again (`svilm eval`)")
    return {name: float(value) for name, value in found.items()}
