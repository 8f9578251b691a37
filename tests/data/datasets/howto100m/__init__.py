"""Tests of HowTo100M."""
