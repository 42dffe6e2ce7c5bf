"""Compiled functions: numba without fast maths and without threads, so that the same numbers give the same bytes."""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def _folder() -> str | None:
    # numba's cache looks at the file of a function only, not at those of the functions and constants it uses: a folder
    # for each state of all files that speak of compiled code keeps code of yesterday out. Where nothing can be
    # written it compiles at each start.
    sources = (source.read_bytes() for source in sorted(Path(__file__).parent.glob("*.py")))
    state = blake2b(b"".join(text for text in sources if b"compiled" in text), digest_size=8).hexdigest()
    folder = Path(numba.config.CACHE_DIR or Path(__file__).parent / "__pycache__") / f"compiled-{state}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()  # it may be there and another user's
    except OSError:
        return None
    return str(folder)


def _compiler() -> Callable[[Any], Any]:
    folder = _folder()
    if folder is not None:
        numba.config.CACHE_DIR = folder
    return cast("Callable[[Any], Any]", numba.njit(cache=folder is not None, nogil=True, error_model="numpy"))


_compile = _compiler()


def compiled(kernel: Kernel) -> Kernel:
    """Return a function as machine code that does not hold the interpreter lock."""
    return cast("Kernel", _compile(kernel))
