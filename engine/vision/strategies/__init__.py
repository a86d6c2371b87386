"""Ways to encode a sequence of frames, one a file."""
