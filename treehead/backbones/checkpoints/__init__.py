"""Weights files as people have them: opened without running anything in them."""
