"""Fewer tokens from layer to layer: the least important are pruned, similar ones merged."""
