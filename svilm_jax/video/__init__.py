"""Video files: demuxing, decoding and encoding through PyAV."""
