"""Training of the model and of the reuse parts."""
