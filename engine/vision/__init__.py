"""Frames become embeddings."""
