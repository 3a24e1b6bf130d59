"""GKCMN: tensors in, tensors out. Nothing here reads or writes a file."""
