"""The made-up world: captioned clips by code, from a seed; needs numpy alone."""
