"""Progress of a long fold on standard error: a bar, records a second, and when it will be done."""

import contextlib
import re
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance = Callable[[int], None]
Begin = Callable[[int], Advance]  # takes how much there is, returns what takes how much more of it was done


class Rate(ProgressColumn):
    """How many of what is counted in a second, over the last while."""

    def __init__(self, of: str) -> None:
        super().__init__()
        self._of = of

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {self._of}/s")


@contextlib.contextmanager
def bar(what: str, of: str = "records") -> Iterator[Begin]:
    """Show a bar within the block, for as much `of` something as the one who works then says there is."""
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), Rate(of), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def begin(total: int) -> Advance:
            task = progress.add_task(what, total=total)
            return lambda done: progress.advance(task, done)

        yield begin


@contextlib.contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Say within the block what is waited for, each thing once, on a line of its own."""
    said = {""}

    def tell(what: str) -> None:
        meant = re.sub(r"\d+ records", "records", what)
        if meant not in said:
            said.add(meant)
            Console(stderr=True).print(what, highlight=False)

    yield tell


def silent(_: int) -> Advance:
    """Show nothing."""
    return lambda _: None
