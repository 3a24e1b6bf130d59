"""The networks and their losses. This package only maps tensors to tensors; it reads and writes no files."""
