"""Read and write files safely, under any name."""
