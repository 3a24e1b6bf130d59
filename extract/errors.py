"""The root of the project's errors, and those of extraction.

Every message reads "<what, with its path>: <cause>; <remedy>". The command line prints it as one line
and exits with 1. Each error is also the builtin that a caller would expect to catch.
"""


class GkcmnError(Exception):
    """Root of every error that this project raises for its user to read."""


class MissingInputError(GkcmnError, FileNotFoundError):
    """A file or folder that was named is not there, or holds nothing usable."""


class MediaError(GkcmnError, ValueError):
    """A file is no video, or its frames cannot be read faithfully."""


class DecodeTimeoutError(MediaError, TimeoutError):
    """The decoder gave no frame for longer than it may."""


class WeightsError(GkcmnError, ValueError):
    """Backbone weights or word vectors are absent, damaged or of another kind."""


class QueryError(GkcmnError, ValueError):
    """A query that cannot be encoded."""


class StoreError(GkcmnError, ValueError):
    """A feature store is damaged, lacks what was asked for, or cannot be written."""


class StoreUnreachableError(StoreError):
    """A feature store cannot be read at this moment, though it may be sound."""


class StoreMismatchError(StoreError):
    """A feature store was made with other settings than those asked for."""


class OutputError(GkcmnError, OSError):
    """A result that cannot be written where it was asked for."""


class DeviceError(GkcmnError, ValueError):
    """A device that is not on this machine."""


class WorkerDiedError(GkcmnError, RuntimeError):
    """Processes died at a piece of work."""


def first_line(error: Exception) -> str:
    """Return an error as a single short line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
