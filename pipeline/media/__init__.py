"""Encode videos and render overlays."""
