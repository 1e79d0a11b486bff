"""Running out of memory as an error that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tumorscope.core.errors import ResourceError

_SIGNS = ("can't allocate memory", "out of memory", "not enough memory")
"""Words of torch's allocators; they raise plain RuntimeErrors on a CPU."""


@contextmanager
def memory_explained(what: str, *, fix: str) -> Iterator[None]:
    """Turn an allocation that failed within the block into a ResourceError.

    Args:
        what: What did not fit.
        fix: What the user can do.

    Raises:
        ResourceError: In place of a MemoryError, or of an allocator's RuntimeError; other errors pass.
    """
    try:
        yield
    except MemoryError as error:
        raise _explained(what, error, fix) from error
    except RuntimeError as error:
        if any(sign in str(error).lower() for sign in _SIGNS):
            raise _explained(what, error, fix) from error
        raise


def _explained(what: str, error: Exception, fix: str) -> ResourceError:
    lines = str(error).splitlines()
    return ResourceError(
        f"{what} does not fit into memory" + (f": {lines[0][:160]}" if lines else ""),
        expected="enough free memory",
        fix=fix,
    )
