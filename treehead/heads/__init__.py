"""Classifier heads on frozen features: a module each for training, prediction and cost together."""
