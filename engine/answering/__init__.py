"""Answers and evidence from embedded frames."""
