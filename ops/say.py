"""What a command prints: the fields of what it did, for a person or, asked by `--json`, for a program."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="print JSON for a program")]


def say(done: Mapping[str, Any], as_json: bool) -> None:
    """Print what a command did."""
    print(json.dumps(done) if as_json else "  ".join(f"{key}={value}" for key, value in done.items()))
