"""Files below everything else: lock files, early checks of output paths, JSON readers, recognition of file types."""
