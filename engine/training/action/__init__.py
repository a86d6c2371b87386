"""Train a small video classifier on made-up clips in which one thing moves."""
