"""Training a backbone: the loop and what it is made of."""
