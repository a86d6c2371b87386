"""The built-in model: both towers, learned on a made world."""
