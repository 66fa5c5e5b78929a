"""Classifier heads on frozen features: one module each, training, prediction and cost together."""
