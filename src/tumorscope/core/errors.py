"""Errors a user can cause: each says what was found, what was expected, where, and what to do next.

The command line prints `str(error)` and leaves with `error.exit_code`; it never prints a traceback for these.
"""

from __future__ import annotations

from pathlib import Path


class TumorscopeError(Exception):
    """Base of every error that names a next step.

    Args:
        found: What is there, in the user's words, with values.
        expected: What would have been right.
        where: File, table row, recipe key or command-line option.
        fix: One thing the user can do now.
    """

    exit_code = 1

    def __init__(self, found: str, *, expected: str = "", where: str | Path = "", fix: str = "") -> None:
        self.found = found
        self.expected = expected
        self.where = str(where)
        self.fix = fix
        super().__init__(self._text())

    def _text(self) -> str:
        parts = [self.found]
        if self.expected:
            parts.append(f"  expected: {self.expected}")
        if self.where:
            parts.append(f"  where:    {self.where}")
        if self.fix:
            parts.append(f"  fix:      {self.fix}")
        return "\n".join(parts)


class UsageError(TumorscopeError):
    """The command, option or recipe is wrong. Exit code 2."""

    exit_code = 2


class DataError(TumorscopeError):
    """The data cannot be used as it is. Exit code 3."""

    exit_code = 3


class IntegrityError(TumorscopeError):
    """A model, bundle, cache or split file is not what its record says. Exit code 4."""

    exit_code = 4


class ResourceError(TumorscopeError):
    """Memory, disk, a device, an optional package or the network is missing. Exit code 5."""

    exit_code = 5


class ImageFault(Exception):
    """One image cannot be used: becomes a listed exclusion, never a substitute.

    Args:
        reason: Short code from `tumorscope.core.types.EXCLUSION_REASONS`.
        detail: What was found, with numbers.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")
