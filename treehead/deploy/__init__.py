"""What is taken away from a run: its model card, and what is published."""
