"""Machine code is kept where it can be, and what cannot be kept runs all the same."""

import os
import subprocess
import sys
from pathlib import Path

import models

KERNEL = """
import numba
from models.compiled import compiled

@compiled
def one_more(number):
    return number + 1

print(one_more(1), numba.config.CACHE_DIR)
"""


def kept(script, place):
    """Return what a compiled function gave, and the folder its code is kept in."""
    script.write_text(KERNEL)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": ".", "NUMBA_CACHE_DIR": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_it_is_kept_where_numba_is_told_to(tmp_path):
    given, folder = kept(tmp_path / "kernel.py", tmp_path / "kept")
    assert given == "2"
    assert Path(folder).parent == tmp_path / "kept"
    assert list(Path(folder).rglob("*one_more*.nbc"))


def test_else_beside_the_sources(tmp_path):
    assert (
        Path(kept(tmp_path / "kernel.py", "")[1]).parent
        == Path(models.__file__).resolve().parent / "__pycache__"
    )


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").touch()
    assert kept(tmp_path / "kernel.py", tmp_path / "file") == ["2", str(tmp_path / "file")]
