"""The three steps of an answer: find where to look, look, check what was said."""
