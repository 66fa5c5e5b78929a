"""Architectures: each file has `build(size, *, settings)`, which returns a network."""
