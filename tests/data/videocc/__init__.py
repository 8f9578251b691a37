"""Tests of VideoCC."""
