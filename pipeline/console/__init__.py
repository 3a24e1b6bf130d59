"""What commands print and plot."""
