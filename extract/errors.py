"""Base class of the project's errors, and the errors of extraction.

Every message has the form "<object, with its path>: <cause>; <remedy>". The command line prints it as one line and
exits with status 1. Each error also inherits from the built-in exception that a caller would expect to catch.
"""


class GkcmnError(Exception):
    """Base class of all errors of this project whose message is meant for the user."""


class MissingInputError(GkcmnError, FileNotFoundError):
    """An input file or folder does not exist or contains nothing usable."""


class MediaError(GkcmnError, ValueError):
    """A file is not a video, or its frames cannot be decoded correctly."""


class DecodeTimeoutError(MediaError, TimeoutError):
    """The decoder did not return a frame within the timeout."""


class WeightsError(GkcmnError, ValueError):
    """Backbone weights or word vectors are missing, damaged or of an unsupported kind."""


class QueryError(GkcmnError, ValueError):
    """A query cannot be encoded."""


class StoreError(GkcmnError, ValueError):
    """A feature store is damaged, lacks the requested data or cannot be written."""


class StoreUnreachableError(StoreError):
    """A feature store cannot be read at the moment, although it may be intact."""


class StoreMismatchError(StoreError):
    """A feature store was created with settings that differ from the requested ones."""


class OutputError(GkcmnError, OSError):
    """A result cannot be written to the requested path."""


class DeviceError(GkcmnError, ValueError):
    """A device is not available on this machine."""


class WorkerDiedError(GkcmnError, RuntimeError):
    """Worker processes crashed while they processed an item."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 200 characters long.

    If the message is empty, return the name of the exception's type.

    Args:
        error: any exception.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
