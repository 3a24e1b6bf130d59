"""Encoding of queries as word vectors."""
