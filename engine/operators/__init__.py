"""One lazy operator a file."""
