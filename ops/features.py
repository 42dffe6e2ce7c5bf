"""The command on features: the catalogue of what a model sees of a candidate."""

import json
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from ops.say import Json


def register(app: typer.Typer) -> None:
    """Add the command to `refold`."""
    app.command("features")(show)


def show(as_json: Json = False) -> None:
    """List every feature of a candidate: its class, scope, table, time to live, default and meaning."""
    if as_json:
        print(json.dumps(rows()))
        return
    table = Table("feature", "class", "scope", "table", "ttl", "default", "meaning")
    for row in rows():
        ttl = f"{row['ttl_s'] / 3600:g} h" if row["ttl_s"] else "-"
        table.add_row(
            row["name"], row["freshness"], row["scope"], row["owner"], ttl, f"{row['default']:g}", row["help"]
        )
    Console().print(table)


def rows() -> list[dict[str, Any]]:
    """Return the catalogue for a program; `ttl_s` in seconds, 0 for what is never too old."""
    from models.features import CATALOGUE  # noqa: PLC0415 - so that `refold --help` is quick

    return [
        {
            **{key: value for key, value in asdict(feature).items() if key != "ttl"},
            "ttl_s": feature.ttl // 1000,
        }
        for feature in CATALOGUE
    ]
