"""The log on a real Kafka: read in order, past archives and compaction, and never past a hole."""

import contextlib
import time
import uuid

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource

from ops.broker.topics import admin, create
from streams import archives
from streams.append import Appender, blank, filled
from streams.archives import PLACE, Archive
from streams.errors import StateError, TopologyError
from streams.log import Log, Record
from streams.settings import Settings

pytestmark = pytest.mark.kafka
AT = 1_700_000_000


@pytest.fixture
def settings(kafka):
    settings = Settings(kafka=kafka, partitions=2, namespace=f"test-{uuid.uuid4().hex[:8]}")
    create(settings)
    yield settings
    with contextlib.suppress(Exception), admin(settings) as client:
        client.delete_topics([name for name in client.list_topics() if name.startswith(settings.namespace)])


def made(offset, topic="events", value=b"v"):
    return Record(
        topic, 0, offset, b"k%d" % offset, value, AT + offset, ((("h", b"1"),) if offset % 2 else ())
    )


def write(settings, topic, records, partition=0):
    with Appender(settings) as to:
        return to.append(settings.topic(topic), partition, records)


def archive(settings, topic, records, until):
    name = f"{topic}-archive-1"
    with admin(settings) as client:
        client.create_topics({settings.topic(name): {"num_partitions": 2, "replication_factor": 1}})
        client.wait_for_topics([settings.topic(name)])
    write(settings, name, records)
    archives.save(settings, {settings.topic(topic): Archive(topic=settings.topic(name), until={0: until})})


def cut(settings, topic, offset):
    with admin(settings) as client:
        client.delete_records({TopicPartition(settings.topic(topic), 0): offset})


def read(log, topic, start=0, end=None):
    return [record for batch in log.read(topic, 0, start, end) for record in batch]


def offsets(log, topic, start=0, end=None):
    return [record.offset for record in read(log, topic, start, end)]


def test_records_come_back_as_they_were_written_up_to_any_end(settings):
    written = [made(n, settings.topic("events")) for n in range(12_000)]
    assert write(settings, "events", written) == 12_000
    with Log(settings) as log:
        assert log.spans("events") == {0: (0, 12_000), 1: (0, 0)}
        assert read(log, "events") == written
        assert read(log, "events", 3, 9_999) == written[3:9_999]
        assert read(log, "events", 5, 5) == []
        with pytest.raises(StateError, match=r"ends at 12000, offset 12001 was asked for"):
            read(log, "events", 0, 12_001)


def test_two_topics_are_read_in_turns(settings):
    for topic in ("events", "slates"):
        write(settings, topic, [made(n, settings.topic(topic)) for n in range(12_000)])
    with Log(settings) as log:
        read_in_turns = [*zip(log.read("events", 0), log.read("slates", 0), strict=True)]
    for place in (0, 1):
        found = [record.offset for pair in read_in_turns for record in pair[place]]
        assert found == list(range(12_000))


def test_a_gap_is_refused_by_name(settings):
    write(settings, "events", [made(n) for n in range(20)])
    cut(settings, "events", 7)
    with Log(settings) as log:
        assert offsets(log, "events", 7) == list(range(7, 20))
        with pytest.raises(StateError, match=r"begins at offset 7: records 0 to 6 are gone; `refold import`"):
            read(log, "events")


def test_blank_records_hold_places_and_are_not_read(settings):
    kept = [made(n) for n in (2, 3, 7)]
    write(settings, "events", filled(kept, "", 0, 0, 10))
    write(settings, "items", filled(kept, "", 0, 0, 10, PLACE))
    with Log(settings) as log:
        for topic in ("events", "items"):
            assert log.spans(topic)[0] == (0, 10)
            assert offsets(log, topic) == [2, 3, 7]


def test_a_record_at_another_offset_is_refused(settings):
    with pytest.raises(
        StateError, match=r"gave a record the offset 0 that belongs at 1: somebody else writes"
    ):
        write(settings, "events", [made(1)])


def test_a_topic_is_read_behind_its_archive(settings):
    written = [made(n, settings.topic("events")) for n in range(30)]
    write(settings, "events", written)
    rewritten = [blank(one) if one.offset % 5 == 0 else one for one in written[:20]]
    archive(settings, "events", rewritten, until=20)
    left = [n for n in range(30) if n >= 20 or n % 5]
    for begin in (0, 20):  # before and after the topic itself is cut
        cut(settings, "events", begin)
        with Log(settings) as log:
            assert log.spans("events") == {0: (0, 30), 1: (0, 0)}
            assert offsets(log, "events") == left
            assert read(log, "events") == [written[n] for n in left]
            assert offsets(log, "events", 3, 12) == [3, 4, 6, 7, 8, 9, 11]
            assert offsets(log, "events", 18, 23) == [18, 19, 20, 21, 22]
            assert offsets(log, "events", 25, 27) == [25, 26]


def test_a_time_within_the_archive_has_its_position_there(settings):
    written = [made(n) for n in range(30)]
    write(settings, "events", written)
    archive(settings, "events", written[:20], until=20)
    for begin in (0, 20):
        cut(settings, "events", begin)
        with Log(settings) as log:
            for n in (4, 18, 19, 25):
                assert log.positions_at("events", (AT + n) * 1000) == {0: n + 1, 1: 0}
            assert log.positions_at("events", (AT - 1) * 1000) == {0: 0, 1: 0}
            assert log.positions_at("events", (AT + 99) * 1000) == {0: 30, 1: 0}


def test_a_compacted_topic_is_read_behind_its_archive(settings):
    write(settings, "profiles", filled([made(n) for n in range(4, 8)], "", 0, 0, 8, PLACE))
    archive(settings, "profiles", filled([made(4), made(6)], "", 0, 0, 6 + 1), until=7)
    with Log(settings) as log:
        assert offsets(log, "profiles") == [4, 6, 7]


def test_an_archive_that_lacks_its_end_is_refused(settings):
    write(settings, "events", [made(n) for n in range(30)])
    archive(settings, "events", [made(n) for n in range(15)], until=20)
    with Log(settings) as log, pytest.raises(StateError, match=r"archive-1\[0\] ends at 15, offset 20"):
        read(log, "events")


def test_a_missing_topic_is_named(settings):
    with Log(settings) as log, pytest.raises(TopologyError, match="refold topics create"):
        log.spans("nothing")


def test_a_compacted_topic_may_lack_offsets(settings):
    name = settings.topic("items")
    eager = {"segment.ms": "100", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100"}
    with admin(settings) as client:
        client.alter_configs([ConfigResource("topic", name, {**eager, "min.cleanable.dirty.ratio": "0.001"})])
    records = [Record("items", 0, n, b"same" if n % 4 else b"k%d" % n, b"v", AT + n) for n in range(40)]
    write(settings, "items", records)
    time.sleep(0.3)
    write(settings, "items", [made(40)])  # only what lies before the newest segment is compacted
    deadline = time.monotonic() + 240  # the one cleaner of the broker looks at others' topics, too
    with Log(settings) as log:
        while len(left := offsets(log, "items")) > 12:
            assert time.monotonic() < deadline, "not compacted in four minutes"
            time.sleep(1)
        assert left == [*range(0, 40, 4), 39, 40]
        assert offsets(log, "items", 5, 33) == list(range(8, 33, 4))
        assert offsets(log, "items", 37, 39) == []  # nothing between is left, and it ends at once
        assert offsets(log, "items", 39, 40) == [39]
