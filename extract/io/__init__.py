"""Safe reading and writing of files, whatever their names."""
