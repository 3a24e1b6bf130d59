"""Compare predictions with labels: metrics, confidence intervals and reports."""
