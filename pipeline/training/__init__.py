"""Train a model; an interrupted run can be resumed after each epoch."""
