"""One module a kind of head in whole numbers: its reference in numpy, and what its C is made of."""
