"""From prepared datasets to batches: `schema.py` is the record, `pipeline.py` the stream, `clips.py` one clip."""
