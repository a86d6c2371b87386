"""Eventful transformers: gates let the tokens through that changed most, buffers keep the rest."""
