"""Training of the early gate's learned limits."""
