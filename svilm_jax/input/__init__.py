"""Input pipeline, from prepared datasets to batches: `schema.py` is the record, `pipeline.py` the stream."""
