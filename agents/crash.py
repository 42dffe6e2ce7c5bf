"""The last word: a broken invariant ends the process at once, before anything wrong is acknowledged."""

import os
import sys
import traceback
from typing import NoReturn

EXIT_CODE = 70  # EX_SOFTWARE: a supervisor starts the worker again


def die(reason: str) -> NoReturn:
    """Print the reason and end the process without running any shutdown code, which might commit offsets."""
    if sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"refold worker: {reason}", file=sys.stderr, flush=True)
    os._exit(EXIT_CODE)
