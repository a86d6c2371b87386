"""Arithmetic on tensors, each with a plain-PyTorch reference."""
