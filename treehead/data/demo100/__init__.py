"""demo100, the data set that the pipeline draws: its classes and their figures."""
