"""What is taken away: the classifier as ONNX, its predictions, the head as C, the model card."""
