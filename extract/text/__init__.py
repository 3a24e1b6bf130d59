"""Queries become word vectors."""
