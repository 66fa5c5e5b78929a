"""The classifier of hierarchy100: a parent layer, its children, their bare tensors, the tree."""
