"""Render scenes with MuJoCo."""
