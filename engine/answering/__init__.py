"""Answers and evidence from embedded frames, and from looking at some of them again."""
