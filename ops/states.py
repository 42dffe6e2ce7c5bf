"""The commands on the state and the log; each reads its settings from the environment and calls one function."""

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to `refold`."""
