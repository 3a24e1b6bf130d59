"""Run a trained model on one video."""
