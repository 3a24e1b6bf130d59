"""Sentences that describe events of a scene."""
