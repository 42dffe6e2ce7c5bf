"""A small shop: files of choices, and what evaluating them says."""

import random

import polars as pl

from models.actions import DEFAULTS
from ops.evaluate.run import evaluate
from ops.evaluate.source import Columns
from ops.progress import silent

START = 1_700_000_000
ITEMS = 30


def written(tmp_path, choices, **more):
    """Write (user, item) choices, a minute apart."""
    users, items = zip(*choices, strict=True)
    at = [START + 60 * n for n in range(len(users))]
    pl.DataFrame({"user": users, "item": items, "at": at, **more}).write_parquet(tmp_path / "shop.parquet")
    return tmp_path / "shop.parquet"


def measured(
    file,
    protocol="prequential",
    ks=(10,),
    every=1,
    retrieval=False,
    model=None,
    plot=None,
    shards=1,
    **columns,
):
    return evaluate(
        file,
        Columns(**columns),
        protocol=protocol,
        ks=ks,
        every=every,
        retrieval=retrieval,
        model=model,
        plot=plot,
        weights=DEFAULTS,
        dimensions=16,
        shards=shards,
        begin=silent,
    )


def shopping(users=40, choices=400, seed=5):
    """Return choices by random users, of which some come again, the first items the most popular."""
    draw = random.Random(seed)
    return [
        (f"u{draw.randrange(users)}", f"i{min(draw.randrange(ITEMS), draw.randrange(ITEMS))}")
        for _ in range(choices)
    ]
