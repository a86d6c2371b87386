"""The parts of the early gate, one concept a file."""
