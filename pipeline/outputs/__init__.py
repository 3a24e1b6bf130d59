"""Output files of the commands, and how existing ones are recognized."""
