"""Benchmark and correctness report of one accelerator: six parts, one command, results as JSON files.

python -m experiments.accelerator --out DIR --seconds 540
"""
