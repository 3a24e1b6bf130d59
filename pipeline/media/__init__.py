"""Encode videos and draw overlays."""
