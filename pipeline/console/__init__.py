"""Output of the commands: tables, figures, progress and error messages."""
