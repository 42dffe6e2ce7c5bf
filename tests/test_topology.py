"""topology.md, streams/topology.py and the Faust apps say the same."""

import re
from pathlib import Path

import pytest

from agents.app import create_app
from models import items, join, learned, outcomes, popular, users
from models.actions import DEFAULTS
from streams.settings import Settings
from streams.topology import STAGES, TABLES, TOPICS, partitions_of, topics

TEXT = (Path(__file__).parents[1] / "topology.md").read_text()
SETTINGS = Settings(partitions=3, shards=2)


def rows(heading):
    """The cells of the first table under a heading, without its head."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell):
    return tuple(re.findall(r"`([^`]+)`", cell))


def test_topics_are_those_of_the_code():
    said = [(names(row[0])[0], row[1], row[2], row[3]) for row in rows("Topics")]

    assert said == [(topic.name, topic.key, topic.record, topic.cleanup) for topic in TOPICS]


def test_tables_are_those_of_the_code():
    said = [
        (names(row[0])[0], row[1], names(row[2]), row[3], names(row[4])[0], int(row[5]))
        for row in rows("Tables")
    ]

    assert said == [
        (table.name, table.key, table.sources, table.row, table.changelog(SETTINGS).name, table.version)
        for table in TABLES
    ]


def test_row_versions_are_those_of_the_models():
    versions = {
        "users": users.VERSION,
        "shown": join.VERSION,
        "items": items.VERSION,
        "popular": popular.VERSION,
        "outcomes": outcomes.VERSION,
        "learned": learned.VERSION,
    }

    assert versions == {table.name: table.version for table in TABLES}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_what_is_said_of_it(stage):
    group, sources, tables = next(
        map(names, row[:3]) for row in rows("Stages") if names(row[0])[0] == SETTINGS.group(stage)
    )
    app = create_app(SETTINGS, stage, DEFAULTS)

    assert (app.conf.id,) == group
    assert tuple(app.agents) == sources
    assert tuple(app.tables) == tables
    for agent in app.agents.values():
        assert agent.concurrency == 1
    assert tables == STAGES[stage]
    for name, table in app.tables.items():
        assert table.partitions == app.conf.topic_partitions == partitions_of(SETTINGS, stage)
        assert table.changelog_topic.get_topic_name() == SETTINGS.changelog(name)


def test_every_source_of_a_table_is_folded_by_the_stage_that_owns_it():
    said = {table: set(names(row[1])) for row in rows("Stages") for table in names(row[2])}

    assert said.keys() == {table.name for table in TABLES}
    for table in TABLES:
        assert set(table.sources) <= said[table.name]


def test_a_table_has_the_partitions_of_its_sources():
    for table in TABLES:
        assert {partitions_of(SETTINGS, source) for source in table.sources} == {
            partitions_of(SETTINGS, table.name)
        }


def test_every_arrow_joins_what_exists():
    known = {topic.name for topic in TOPICS} | {topic.name for topic in topics(SETTINGS)}

    for row in rows("Arrows"):
        assert names(row[1])[0] in known, row
    assert {names(row[1])[0] for row in rows("Arrows")} == known
