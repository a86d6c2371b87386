"""A server that asks several others, each of which holds a range of the videos."""
