"""The last word: a broken invariant ends the process at once, before anything wrong is acknowledged."""

import os
import sys
import traceback
from typing import NoReturn

from streams.errors import RefoldError

EXIT_CODE = 70  # EX_SOFTWARE: a supervisor starts the worker again
FULL = ("No space left on device", "Disk quota exceeded", "File too large")


def die(reason: str) -> NoReturn:
    """Print the reason and end the process without running any shutdown code, which might commit offsets."""
    try:
        # Faust puts a logger in the place of sys.stderr, and its lines begin with the time
        if sys.exc_info()[0] is not None:
            traceback.print_exc(file=sys.__stderr__)
        print(f"refold worker: {reason}", file=sys.__stderr__, flush=True)
    finally:
        os._exit(EXIT_CODE)


def why(error: BaseException) -> str:
    """Return what an error means to an operator.

    >>> why(OSError(28, "No space left on device"))
    'the disk is full: free space where REFOLD_DATA lies'
    >>> why(ValueError("seven"))
    "ValueError('seven')"
    """
    said = str(error)
    if any(words in said for words in FULL):
        return "the disk is full: free space where REFOLD_DATA lies"
    if isinstance(error, TimeoutError):
        return "the broker did not answer in time"
    if isinstance(error, RefoldError):
        return said
    return repr(error)
