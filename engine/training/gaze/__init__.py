"""Questions read from patches: the looker's weights, learned on a made world."""
