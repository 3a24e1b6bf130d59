"""The feature store: the only code that reads or writes Zarr."""
