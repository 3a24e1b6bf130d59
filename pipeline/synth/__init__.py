"""Generate synthetic videos from a seed: scenes, queries and exact boxes."""
