"""Annotations and stored features become batches."""
