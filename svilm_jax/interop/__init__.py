"""Weights in and out: public towers, folders that anybody can read, programs that run without this package."""
