"""Whole forwards on a GPU, each captured once as one CUDA graph."""
