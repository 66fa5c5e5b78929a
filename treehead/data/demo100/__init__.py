"""demo100, the data set that the pipeline draws: what its classes are and how they are drawn."""
