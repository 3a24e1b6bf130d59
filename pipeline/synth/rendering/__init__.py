"""Render a scene with MuJoCo."""
