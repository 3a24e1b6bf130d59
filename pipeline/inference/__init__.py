"""Run a trained model on videos."""
