"""Every byte of an index snapshot flipped, one after the other: `python -m ops.prove.flips [EVERY]`.

A process of its own, because a bad snapshot that USearch takes could end it. Prints how many flips there were, and
which of them were taken for good.
"""

import asyncio
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from api import space_snapshot
from api.columns import Columns
from api.lore import Lore
from api.space import ItemSpace
from models.items import ItemRow, list_item
from models.learned import Learned
from streams.items import Item

DIMENSIONS, ITEMS = 8, 24  # small, so that every byte can be tried


def write(folder: Path) -> None:
    """Write the snapshot of a small space, as an API process does when it stops."""
    columns = Columns()
    lore = Lore(columns, DIMENSIONS)
    space = ItemSpace(columns, lore, folder)
    learned = Learned(DIMENSIONS)
    for n in range(ITEMS):
        row = list_item(ItemRow(chosen=n), Item(title=f"item-{n}", categories=(f"category-{n % 3}",)))
        space.touch(np.array([columns.put(f"item-{n}", row)]))
        lore.put(0, f"item-{n}", learned.row(learned.slot(f"item-{n}")))
    while space.step():
        pass
    space.index.rebuild(wait=True)
    asyncio.run(space.stop())


def flip(good: Path, every: int) -> tuple[int, list[str]]:
    """Load the snapshot once for every flipped byte; return how many there were and which were not noticed."""
    flips, unnoticed = 0, []
    for path in sorted(path for path in good.rglob("*") if path.is_file()):
        name = path.relative_to(good)
        for at in range(0, path.stat().st_size, every):
            with tempfile.TemporaryDirectory() as folder:
                bad = Path(folder) / "space"
                shutil.copytree(good, bad)
                data = bytearray(path.read_bytes())
                data[at] ^= 1 << at % 8
                (bad / name).write_bytes(data)
                flips += 1
                if taken(bad):
                    unnoticed.append(f"{name}@{at}")
    return flips, unnoticed


def taken(folder: Path) -> bool:
    """Tell whether an API process would start from the snapshot."""
    return space_snapshot.load(folder, Columns(), DIMENSIONS) is not None


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # a line for every flip, as it should be
    with tempfile.TemporaryDirectory() as home:
        good = Path(home) / "space"
        write(good)
        if not taken(good):
            sys.exit("the snapshot is refused even before it is harmed")
        flips, unnoticed = flip(good, int(sys.argv[1]) if len(sys.argv) > 1 else 1)
        print(json.dumps({"flips": flips, "taken": unnoticed}))
