"""Describe a scene in sentences."""
