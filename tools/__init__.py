"""Scripts for development. They are not part of the package."""
