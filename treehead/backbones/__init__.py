"""Feature extractors: networks, their pretrained weights, their cost, their features."""
