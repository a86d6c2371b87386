"""Attacks that take too long for the suite: `make torture`. The suite runs a few of each kind."""
