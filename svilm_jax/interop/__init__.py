"""Interoperability: import of public weights, portable model directories, and export of standalone programs."""
