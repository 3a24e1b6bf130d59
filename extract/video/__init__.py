"""Decode a video file into RGB frames with their times."""
