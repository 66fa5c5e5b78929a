"""A head in whole numbers: a numpy reference, C99 that equals it to the bit, and its cost."""
