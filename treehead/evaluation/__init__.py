"""Evaluation of classifiers: metrics, tests of a difference, and the comparison of heads."""
