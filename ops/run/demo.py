"""The demo: real purchases through every part on the embedded broker, checked, and then left to be tried.

Events go in, the worker folds them, the API's lists follow; a click through the API changes a list; the slate it
answered stands in the log. Every check reads what the parts published, not what they say of themselves.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.users import FOLDED, User
from ops.broker import topics
from ops.broker.lag import committed
from ops.log import groceries
from ops.processes import Processes
from ops.run import system
from streams import items as catalogue
from streams import slates
from streams.changelog import Reading, Record
from streams.errors import Unavailable
from streams.partition import partition_of
from streams.read import records
from streams.settings import Settings
from streams.write import EventWriter, producer

SECONDS = 90  # to wait for a state that must come
PUBLISHED = 1.0  # seconds in which what items and lists say of folded users reaches the API
SHOWN = 5
console = Console(stderr=True)


def run(count: int, *, stay: bool, as_json: bool) -> int:
    """Run the demo and return the exit code: 0 when every check held."""
    lines = groceries.purchases(count)
    with _system() as (settings, api, processes):
        summary = _play(settings, api, lines)
        ok = all(summary["checks"].values())
        if as_json:
            print(json.dumps({"ok": ok, **summary}), flush=True)
        elif not ok:
            console.print(
                f"[red]failed:[/red] {[name for name, held in summary['checks'].items() if not held]}"
            )
        if stay and ok:
            _invite(api, summary)
            with contextlib.suppress(KeyboardInterrupt):
                processes.watch()
    return 0 if ok else 1


@contextlib.contextmanager
def _system() -> Iterator[tuple[Settings, httpx.Client, Processes]]:
    with contextlib.ExitStack() as stack:
        settings = stack.enter_context(system.embedded_settings("demo"))
        with console.status("starting a worker and the API ..."):
            base, processes = stack.enter_context(system.running(settings))
        yield settings, stack.enter_context(httpx.Client(base_url=base, timeout=10)), processes


def _play(settings: Settings, api: httpx.Client, lines: Any) -> dict[str, Any]:
    households = Counter(lines["household"].to_list())
    household = f"household-{households.most_common(1)[0][0]}"
    titles = _list_catalogue(settings, lines)
    started = time.perf_counter()
    sent = _stream(settings, api, lines, household, titles)
    folded = _await(lambda: _folded(settings) >= sent, "every event is folded") and _folded(settings)
    seconds = time.perf_counter() - started
    before, changed_ms, clicked = _click(api, household)
    after = _list(api, household)
    _show(titles, after, f"{household} after a click on {titles.get(clicked, clicked)}")
    logged = _await(lambda: before["request_id"] in _slates(settings), "the slate is logged")
    return {
        "broker": "embedded",
        "events": sent,
        "folded": folded,
        "seconds": round(seconds, 1),
        "events_per_s": round(sent / seconds),
        "household": household,
        "rung": after["rung"],
        "changed_ms": changed_ms,
        "checks": {
            "events in = folded": folded == sent,
            "the list changed after a click": changed_ms is not None,
            "the slate was logged": logged,
        },
    }


def _list_catalogue(settings: Settings, lines: Any) -> dict[str, str]:
    titles = {}
    with producer(settings) as to:
        for key, item in groceries.items(lines):
            titles[key] = item.title
            number = partition_of(key, settings.partitions)
            to.send(settings.topic("items"), key=key.encode(), value=catalogue.encode(item), partition=number)
    console.print(f"{len(titles)} products listed")
    return titles


def _stream(settings: Settings, api: httpx.Client, lines: Any, household: str, titles: dict[str, str]) -> int:
    columns = (TextColumn("streaming purchases"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    look = max(1, len(lines) // 4)
    with producer(settings) as to, Progress(*columns, console=console) as progress:
        writer = EventWriter(settings, to, batch=16)
        task = progress.add_task("", total=len(lines))
        for start in range(0, len(lines), look):
            writer.write(groceries.events(lines[start : start + look]))
            _await_folds(settings, writer.finish())
            progress.update(task, completed=min(start + look, len(lines)))
            day = time.strftime("%d %B", time.gmtime(lines["at"][min(start + look, len(lines)) - 1] / 1000))
            _show(titles, _list(api, household), f"{household}, as it looks while {day} streams in")
        return writer.sent


def _await_folds(settings: Settings, ends: dict[int, int]) -> None:
    # offsets as they were acknowledged: the embedded broker's own end offsets lag behind
    deadline = time.monotonic() + SECONDS
    with topics.admin(settings) as client:
        while time.monotonic() < deadline:
            done = committed(client, settings.group("users"), settings.topic("events"))
            if all(done.get(number, 0) >= end for number, end in ends.items()):
                time.sleep(PUBLISHED)
                return
            time.sleep(0.1)
    raise Unavailable(f"the worker did not fold the events within {SECONDS} s")


def _click(api: httpx.Client, household: str) -> tuple[dict[str, Any], float | None, str]:
    """Click the last item of a list and return the list, the ms until it changed (None: never), and the item."""
    before = _list(api, household)
    ids = [item["item_id"] for item in before["items"]]
    clicked = ids[-1]
    event = {"type": "click", "user_id": household, "item_id": clicked, "request_id": before["request_id"]}
    started = time.perf_counter()
    api.post("/v1/events", json=event).raise_for_status()
    while (waited := time.perf_counter() - started) < SECONDS:
        now = [item["item_id"] for item in _list(api, household)["items"]]
        if now != ids:
            return before, round(waited * 1000, 1), clicked
        time.sleep(0.005)
    return before, None, clicked


def _list(api: httpx.Client, household: str) -> dict[str, Any]:
    answer = api.get(f"/v1/recommend/{household}", params={"n": 10, "surface": groceries.SURFACE})
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def _show(titles: dict[str, str], answer: dict[str, Any], head: str) -> None:
    console.print(f"[bold]{head}[/bold] (rung: {answer['rung']})")
    for place, item in enumerate(answer.get("items", [])[:SHOWN], 1):
        console.print(
            f"  {place}. {titles.get(item['item_id'], item['item_id']):44} {item['source']}", highlight=False
        )


def _folded(settings: Settings) -> int:
    """Return how many events the newest rows of the users' changelog account for."""
    said: dict[int, list[Record]] = {}
    for record in records(settings, "refold-users-changelog", quiet_ms=700):
        said.setdefault(record.partition, []).append(record)
    rows = [row for part in said.values() for row in Reading().read(part).values()]
    return sum(User.from_row(row).tally[FOLDED] for row in rows if row)


def _slates(settings: Settings) -> set[str]:
    return {slates.decode(record.value).request_id for record in records(settings, "slates", quiet_ms=700)}


def _await(holds: Callable[[], bool], what: str) -> bool:
    deadline = time.monotonic() + SECONDS
    with console.status(f"waiting until {what} ..."):
        while time.monotonic() < deadline:
            if holds():
                return True
            time.sleep(0.2)
    console.print(f"[red]not within {SECONDS} s: {what}[/red]")
    return False


def _invite(api: httpx.Client, summary: dict[str, Any]) -> None:
    base, household = str(api.base_url).rstrip("/"), summary["household"]
    item = _list(api, household)["items"][0]["item_id"]
    console.print(
        f"""
{summary["events"]:,} purchases in {summary["seconds"]} s; a click changed the list in {summary["changed_ms"]} ms.

[bold]Open[/bold]   {base}/?user={household}   lists to click on
       {base}/docs   every operation, to try
[bold]Ask[/bold]    curl '{base}/v1/recommend/{household}?n=5'
[bold]Click[/bold]  curl -X POST {base}/v1/events -H 'content-type: application/json' \\
         -d '{{"type": "click", "user_id": "{household}", "item_id": "{item}"}}'
       and ask again: the list has changed.

The embedded broker keeps nothing. Ctrl-C stops everything.""",
        highlight=False,
        soft_wrap=True,
    )
