"""A bound on drift that is kept, and the choice of the strategy that keeps it fastest."""
