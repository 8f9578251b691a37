"""Input pipeline, from prepared datasets to batches: `schema.py` is the record, `pipeline.py` the stream."""

from svilm_jax.input.records import RecordSource, open_records, splits
from svilm_jax.input.schema import Record

__all__ = ["Record", "RecordSource", "open_records", "splits"]
