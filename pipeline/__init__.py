"""Configuration, data preparation, training, evaluation and inference."""
