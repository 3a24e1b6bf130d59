"""Train a model, resumable after each epoch."""
