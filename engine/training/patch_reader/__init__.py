"""Questions read from patches: the patch reader's weights, learned on a made world."""
