"""Predictions against annotations: metrics, intervals, reports."""
