"""Streams of frames side by side: the interface of a strategy, and what feeds one."""
