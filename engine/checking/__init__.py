"""The first run of a checkpoint: everything that can be wrong with it is looked at, once."""
