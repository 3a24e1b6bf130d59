"""Turn annotations and stored features into batches."""
