"""Labelled videos drawn from a seed: scenes, their sentences, exact boxes."""
