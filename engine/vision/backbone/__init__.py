"""Towers of many families: their shapes, weights, preprocessing, precision and cost."""
