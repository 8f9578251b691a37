"""Captions of any dataset: cleaning, collection per video, checks of their times, and noun phrases."""
