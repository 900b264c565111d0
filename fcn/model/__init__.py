"""Config -> a network that gives logits for every pixel."""
