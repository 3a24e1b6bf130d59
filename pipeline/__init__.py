"""Records and glue: configuration, annotations, training, evaluation and grounding."""
