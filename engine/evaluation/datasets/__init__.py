"""Annotated sets in their official file formats."""
