"""Classifier heads on frozen features: one module each, its training, prediction and cost together."""
