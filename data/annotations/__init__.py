"""Annotation files: readers and checks shared by the datasets."""
