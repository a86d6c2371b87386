"""The parts of ReuseViT, one concept a file."""
