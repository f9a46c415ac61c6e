"""The exceptions of the whole project: each carries the exit code of a command that ends with it, the path or
job that it is about, and a hint on what to do next.
"""

from __future__ import annotations


class RecorderError(Exception):
    """Base of every error that a user can cause or must act on; shown as one line, never as a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, path: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint

    def __str__(self) -> str:
        text = self.message if self.path is None else f"{self.message}: {self.path}"
        return text if self.hint is None else f"{text} ({self.hint})"


class UsageError(RecorderError):
    """The command, its arguments or a setting can't be used as given."""

    exit_code = 2


class ServiceUnavailableError(RecorderError):
    """Redis, or another service that the command needs, can't be reached."""

    exit_code = 3


class RunInterruptedError(RecorderError):
    """A person has stopped the run; it can be resumed."""

    exit_code = 130


class UnrecordableError(RecorderError):
    """A result that can't become a recording: it goes to quarantine, and its job fails with this reason."""


class StorageError(RecorderError):
    """OUTPUT_DIR can't be written to just now; nothing of the batch was acknowledged."""


class NameTooLongError(StorageError):
    """The file system can't hold so long a name."""


class LockedError(StorageError):
    """Another recorder holds a lock too long; it may be frozen."""
