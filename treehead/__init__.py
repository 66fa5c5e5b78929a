"""Compact, tree-shaped classifier heads for tiny CNNs."""
