"""Preparation pipeline: from entries to records."""
