"""The early gate's limits, learned or calibrated."""
