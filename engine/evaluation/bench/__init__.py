"""Benchmarks: one file each, one `run` that returns a Report."""
