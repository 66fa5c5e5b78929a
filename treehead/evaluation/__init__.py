"""What a classifier is worth: metrics, tests of a difference, and the comparison of heads."""
