"""Errors of the pipeline, in the one tree that starts at `extract.errors.GkcmnError`."""

from extract.errors import GkcmnError


class ConfigError(GkcmnError, ValueError):
    """A configuration key or value that is not known or not allowed."""


class AnnotationError(GkcmnError, ValueError):
    """A record of an index that cannot be used."""


class PredictionError(GkcmnError, ValueError):
    """Predictions that cannot be scored."""


class CheckpointError(GkcmnError, ValueError):
    """A run that is absent, incomplete, or of another version."""


class TrainingError(GkcmnError, ArithmeticError):
    """Training that cannot go on, because its numbers are no longer finite or far too large."""


class RenderError(GkcmnError, RuntimeError):
    """Scenes cannot be drawn on this machine."""
