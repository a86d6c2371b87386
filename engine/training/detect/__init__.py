"""Train a small detector on made-up pictures whose scripts know where everything is."""
