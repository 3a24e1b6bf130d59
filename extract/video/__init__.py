"""Video decoding: files to RGB frames with their times."""
