"""Exceptions of the pipeline; all are subclasses of `extract.errors.GkcmnError`."""

from extract.errors import GkcmnError


class ConfigError(GkcmnError, ValueError):
    """A configuration key is unknown, or a value is not allowed."""


class AnnotationError(GkcmnError, ValueError):
    """A sample or an index cannot be used."""


class PredictionError(GkcmnError, ValueError):
    """Predictions cannot be scored."""


class CheckpointError(GkcmnError, ValueError):
    """A run is missing, incomplete, damaged, or incompatible with this release or these settings."""


class TrainingError(GkcmnError, ArithmeticError):
    """Training diverged: values are not finite, or the loss is far too large."""


class RenderError(GkcmnError, RuntimeError):
    """Synthetic videos cannot be rendered on this machine."""
