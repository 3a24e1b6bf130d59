"""What commands write, and how earlier outputs are recognized."""
