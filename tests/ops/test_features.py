import json

from typer.testing import CliRunner

from models.features import CATALOGUE
from ops.cli import app
from ops.features import rows
from streams.topology import TABLES


def test_the_catalogue_is_printed_whole_for_a_program_and_for_a_person():
    said = CliRunner().invoke(app, ["features", "--json"])
    assert said.exit_code == 0
    assert [row["name"] for row in json.loads(said.output)] == [feature.name for feature in CATALOGUE]
    table = CliRunner().invoke(app, ["features"], env={"COLUMNS": "220"})
    assert all(feature.help in table.output for feature in CATALOGUE)


def test_every_feature_is_owned_by_a_table_and_says_how_old_it_may_be():
    assert {row["owner"] for row in rows()} <= {table.name for table in TABLES}
    assert {row["name"]: row["ttl_s"] for row in rows()}["popular_hour"] == 7200
    assert all(
        set(row) == {"name", "freshness", "scope", "owner", "help", "ttl_s", "default"} for row in rows()
    )
