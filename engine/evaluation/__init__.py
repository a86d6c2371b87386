"""Datasets, metrics and benchmarks."""
