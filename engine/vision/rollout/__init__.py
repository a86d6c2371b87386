"""Rollout-guided token pruning: what a frame attended to says what the next one needs."""
