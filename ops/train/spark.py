"""Spark: what was said, read and put into order by PySpark, for logs that outgrow one machine; and item vectors of it.

For the vectors, choices and the products with them are made where the data lies; what comes back are the keys of the
items and a number for each item and axis. Rows of a ranker are made by `ops.train.stages`.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial, reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ops.evaluate.source import row_of
from ops.log import manifest as manifests
from ops.train.history import TOPICS, Said, said_by_record, said_by_row
from ops.train.trails import Learn, Learned
from ops.train.vectors import Counts, Doubles, Plan, common, matrix, train_vectors
from streams.errors import Refused, Unavailable
from streams.log import Record

Session = Any  # pyspark.sql.SparkSession; an extra
VALUES = ("user", "item", "at", "kind", "value", "categories", "wanted")  # columns of a file in order
CONTENT = ("key", "value", "headers")
HEADERS = "array<struct<name:string,value:binary>>"


Heard = Any  # an RDD of `At`, in the order in which it became known


class At(NamedTuple):
    """Something said, and the latest time (ms) up to it: a clock set back does not part what is in order."""

    reached: int
    said: Said


class Choice(NamedTuple):
    """Someone chose an item; `place` orders all choices."""

    user: str
    item: str
    place: int


def opened() -> Session:
    """Return a session, as the environment configures Spark, by default on this machine.

    Raises Refused where PySpark is not installed, Unavailable where Spark does not start.
    """
    try:
        from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415 - an extra
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise Refused(f"{missing}; --engine spark needs: pip install 'refold[spark]'") from None
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        return SparkSession.builder.appName("refold").config("spark.ui.enabled", "false").getOrCreate()
    except PySparkRuntimeError as error:
        raise Unavailable(f"Spark does not start, it needs Java 17 or newer: {error}") from None


def of_file(session: Session, ordered: Path, weights: Mapping[str, float]) -> Heard:
    """Return what is said by a file as `ops.evaluate.source` has put it into order."""
    from pyspark.sql import Window  # noqa: PLC0415 - an extra
    from pyspark.sql.functions import col  # noqa: PLC0415
    from pyspark.sql.functions import min as least  # noqa: PLC0415

    rows = session.read.parquet(str(ordered)).select("_metadata.row_index", *VALUES)
    new = col("row_index") == least("row_index").over(Window.partitionBy("item"))
    return (
        rows.select("row_index", *VALUES, new)
        .orderBy("row_index")
        .rdd.flatMap(partial(_of_row, dict(weights)))
    )


def _of_row(weights: Mapping[str, float], told: Any) -> Iterator[At]:
    *values, new = told
    for said in said_by_row(row_of(*values), weights, new=new):
        yield At(said.at, said)


def of_export(
    session: Session, folder: Path, weights: Mapping[str, float], until: int | None = None
) -> Heard:
    """Return what is said by an export up to a time (ms); Spark must find its files under the same path everywhere."""
    from pyspark.sql import Window  # noqa: PLC0415 - an extra
    from pyspark.sql.functions import col, lit, unix_millis  # noqa: PLC0415
    from pyspark.sql.functions import max as most  # noqa: PLC0415

    frames = []
    for rank, topic in enumerate(TOPICS):
        files = [str(folder / file.path) for file in manifests.read(folder).files if file.topic == topic]
        if files:
            frame = session.read.option("mergeSchema", "true").parquet(*files)
            if "headers" not in frame.columns:
                frame = frame.withColumn("headers", lit(None).cast(HEADERS))
            at = unix_millis("timestamp").alias("at")
            frames.append(frame.select(lit(rank).alias("rank"), "partition", "offset", at, *CONTENT))
    if not frames:
        return session.sparkContext.emptyRDD()
    earlier = Window.partitionBy("rank", "partition").orderBy("offset")
    records = reduce(lambda one, other: one.union(other), frames).withColumn(
        "reached", most("at").over(earlier)
    )
    if until is not None:
        records = records.where(col("reached") <= until)
    return records.orderBy("reached", "rank", "partition", "offset").rdd.flatMap(
        partial(_of_record, dict(weights))
    )


def _of_record(weights: Mapping[str, float], row: Any) -> Iterator[At]:
    headers = tuple((header.name, bytes(header.value)) for header in row.headers or ())
    key, value = (None if held is None else bytes(held) for held in (row.key, row.value))
    record = Record(TOPICS[row.rank], row.partition, row.offset, key, value, row.at / 1000, headers)
    return (At(row.reached, said) for said in said_by_record(record, weights))


def learn_vectors(heard: Heard, plan: Plan, tell: Callable[[str], None]) -> Learn:
    """Return what learns item vectors from the choices in what was heard; it raises as `train_vectors` does."""

    def learn(before: int) -> Learned:
        choices = Spread(
            heard.filter(lambda one: one.reached < before and one.said.wanted and one.said.event.item_id)
            .zipWithIndex()
            .map(lambda one: Choice(one[0].said.event.user, one[0].said.event.item_id, one[1]))
        )
        return Learned(choices.keys, *train_vectors(choices, plan, tell))

    return learn


class Spread:
    """Choices wherever Spark holds them: `ops.train.vectors.Choices` of an RDD of `Choice`."""

    def __init__(self, choices: Any) -> None:
        firsts = choices.map(lambda one: ((one.user, one.item), one.place)).reduceByKey(min).persist()
        met = firsts.map(lambda first: (first[0][1], first[1])).reduceByKey(min)
        self.keys: list[str] = [item for item, _ in sorted(met.collect(), key=lambda pair: pair[1])]
        slots = choices.context.broadcast({item: n for n, item in enumerate(self.keys)})
        owned = firsts.map(lambda first: (first[0][0], (first[1], slots.value[first[0][1]]))).groupByKey()
        self._parts = owned.values().mapPartitions(partial(_rows, len(self.keys))).persist()
        self.users: int = self._parts.map(lambda rows: rows.shape[0]).sum()
        firsts.unpersist()

    @cached_property
    def counts(self) -> Counts:
        """How many people chose each item, shape (items,)."""
        items = len(self.keys)
        found: Counts = self._parts.map(lambda rows: np.bincount(rows.indices, minlength=items)).treeReduce(
            add
        )
        return found

    def times(self, block: Doubles) -> Doubles:
        """Return the product of common choices with a block (items, k)."""
        sent = self._parts.context.broadcast(block)
        product: Doubles = self._parts.map(lambda rows: common(rows, sent.value)).treeReduce(add)
        sent.unpersist()
        return product


def _rows(items: int, people: Iterable[Iterable[tuple[int, int]]]) -> Iterator[Any]:
    """Yield one matrix of the people of a part."""
    trails = [np.array([slot for _, slot in sorted(own)], np.int32) for own in people]
    yield matrix([trail for trail in trails if len(trail) > 1], items)
