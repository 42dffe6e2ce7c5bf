"""Spark: the choices that item vectors learn from, read and held by PySpark, for logs that outgrow one machine.

Rows of choices, their order and the products with them are made where the data lies; what comes back are the keys of
the items and a number for each item and axis.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.actions import weight_of
from ops.log import manifest as manifests
from ops.train.history import happened
from ops.train.trails import Learn, Learned
from ops.train.vectors import Counts, Doubles, Plan, common, matrix, train_vectors
from streams.errors import Refused, Unavailable
from streams.log import Record

Session = Any  # pyspark.sql.SparkSession; an extra
Place = tuple[int, ...]  # where a choice stands in the order of all


class Choice(NamedTuple):
    """Someone chose an item."""

    user: str
    item: str
    place: Place


Read = Callable[[Session, int], Any]  # an RDD of choices known before a time (ms)


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


def learn_vectors(session: Session, read: Read, plan: Plan, tell: Callable[[str], None]) -> Learn:
    """Return what learns item vectors from choices; it raises as `train_vectors` does."""

    def learn(before: int) -> Learned:
        choices = Spread(read(session, before))
        return Learned(choices.keys, *train_vectors(choices, plan, tell))

    return learn


def of_file(ordered: Path, weights: Mapping[str, float]) -> Read:
    """Return what reads the choices of a file as `ops.evaluate.source` has put it into order."""
    weighs = dict(weights)

    def read(session: Session, before: int) -> Any:
        rows = session.read.parquet(str(ordered)).where(f"wanted and at < {before}")
        chosen = rows.selectExpr("user", "item", "_metadata.row_index", "kind", "value").rdd
        return chosen.filter(lambda row: weight_of(weighs, row.kind, row.value) > 0).map(
            lambda row: Choice(row.user, row.item, (row.row_index,))
        )

    return read


def of_export(folder: Path, weights: Mapping[str, float]) -> Read:
    """Return what reads the choices of an export, whose files Spark must find under the same path everywhere."""
    files = [file.path for file in manifests.read(folder).files if file.topic == "events"]
    weighs = dict(weights)

    def read(session: Session, before: int) -> Any:
        from pyspark.sql import Window  # noqa: PLC0415 - an extra
        from pyspark.sql.functions import col, lit, unix_millis  # noqa: PLC0415
        from pyspark.sql.functions import max as most  # noqa: PLC0415

        if not files:
            return session.sparkContext.emptyRDD()
        frame = session.read.option("mergeSchema", "true").parquet(*(str(folder / file) for file in files))
        if "headers" not in frame.columns:
            frame = frame.withColumn("headers", lit(None))
        earlier = Window.partitionBy("partition").orderBy("offset")
        at = unix_millis("timestamp")
        # a clock set back must not part a partition's order: see ops.train.history
        rows = frame.select(
            "partition", "offset", at.alias("at"), "value", "headers", most(at).over(earlier).alias("reached")
        )
        return rows.where(col("reached") < before).rdd.flatMap(partial(_chosen, weighs))

    return read


def _chosen(weights: Mapping[str, float], row: Any) -> Iterator[Choice]:
    """Yield the choices of a record of the log."""
    headers = tuple((header.name, bytes(header.value)) for header in row.headers or ())
    value = None if row.value is None else bytes(row.value)
    record = Record("events", row.partition, row.offset, None, value, row.at / 1000, headers)
    for n, said in enumerate(happened(record, row.at, weights)):
        if said.event is not None and said.wanted and said.event.item_id:
            yield Choice(said.event.user, said.event.item_id, (row.reached, row.partition, row.offset, n))


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


def _rows(items: int, people: Iterable[Iterable[tuple[Place, int]]]) -> Iterator[Any]:
    """Yield one matrix of the people of a part."""
    trails = [np.array([slot for _, slot in sorted(own)], np.int32) for own in people]
    yield matrix([trail for trail in trails if len(trail) > 1], items)
