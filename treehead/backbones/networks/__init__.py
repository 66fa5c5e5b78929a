"""Architectures: each file has `build(size, *, settings)`, a network and its number of features."""
