import json
from collections import Counter

import numpy as np
import pytest

from models.lots import arm_of_item
from models.outcomes import Outcomes
from ops.experiment import catalogue, items
from ops.experiment.lists import rarefied, shown
from ops.experiment.report import outcomes, reported, show
from ops.log.fake import Log
from streams import changelog, events, slates
from streams import items as catalogues
from streams.events import Event
from streams.experiments import BOTH, Arm, Decision, Definition, Metric, Record
from streams.items import Item
from streams.slates import Shown, Slate
from tests.models.sheets import drawn, sheet

DAY = 86_400_000
BEGAN = 1_750_000_000_000
NOW = BEGAN + 3 * DAY


def record(**said):
    given = {"metrics": {"ctr": Metric("click", "lists", primary=True)}} | said
    tried = Definition(
        key="try", version=1, arms={"a": Arm(), "b": Arm()}, control="a", at=BEGAN - 9, **given
    )
    decided = (Decision("running", BEGAN - 9 * DAY), Decision("draft", BEGAN - 9), Decision("running", BEGAN))
    return Record(key="try", state="running", versions=(tried,), decided=decided)


@pytest.fixture
def log():
    """Four items of two categories; before and since the beginning lists and clicks."""
    log = Log(partitions=2)
    for n in range(4):
        item = Item(categories=(f"c{n % 2}",))
        log.append("items", n % 2, f"i{n}".encode(), catalogues.encode(item), BEGAN - DAY)
    log.append("items", 0, b"gone", catalogues.encode(Item(categories=("c9",))), BEGAN - DAY)
    log.append("items", 0, b"gone", None, BEGAN - DAY)
    return log


def slate(log, n, arm, shown_items, at=BEGAN, same_as=""):
    said = Slate(
        request_id=f"r{n}", user_id=f"u{n}", at=at, surface="home", rung="full", arms={"try": arm} if arm else {},
        same_as=same_as, items=tuple(Shown(item, place, 0.0, 1.0, "popular") for place, item in enumerate(shown_items)),
    )  # fmt: skip
    log.append("slates", 0, f"u{n}".encode(), slates.encode(said), at)


def act(log, n, kind, item, at):
    event = Event(event_id=f"e{n}", type=kind, at=at, user_id="u", item_id=item)
    log.append("events", 1, b"u", events.encode([event]), at)


def put(log, sheets, partition=0):
    rows = Outcomes(sheets=sheets).row()
    owner = log.append("outcomes-changelog", partition, changelog.NOTE, changelog.encode(changelog.Note()))
    log.append("outcomes-changelog", partition, b"try", rows, headers=changelog.headers(owner))
    note = changelog.encode(changelog.Note(owner))
    log.append("outcomes-changelog", partition, changelog.NOTE, note, headers=changelog.headers(owner))


def test_sheets_are_merged_over_the_partitions_of_the_changelog(log):
    put(log, {(1, "a"): sheet(lists=[1, 2])}, 0)
    put(log, {(1, "a"): sheet(lists=[5]), (1, "b"): sheet(lists=[3])}, 1)
    found = outcomes(log, 2)["try"]

    assert found[1, "a"].gram.tolist() == [[3, 8], [8, 30]]
    assert found[1, "b"].units == 1


def test_a_report_is_for_programs_and_for_people(log, capsys):
    draw = np.random.default_rng(1)
    put(log, {(1, "a"): drawn(draw, 2_000), (1, "b"): drawn(draw, 2_000, 0.3)})
    said = reported(log, 2, record(), NOW)
    assert json.loads(json.dumps(said, allow_nan=False))["verdict"] == "better"
    show(said)
    told = capsys.readouterr().out

    assert "try version 1, running: better" in told
    assert "ctr *" in told
    assert "sample ratio" in told


def test_what_is_missing_is_told_to_people_too(log, capsys):
    show(reported(log, 2, record(metrics={"m": Metric("click")}), NOW))
    told = capsys.readouterr().out

    assert "nobody has been exposed yet" in told
    assert "m, b: arm 'a' has no units yet" in told


def test_an_interleaved_experiment_tells_who_was_preferred(log, capsys):
    put(log, {(1, BOTH): sheet(lists=[1] * 90, prefers=[1] * 60 + [-1] * 20 + [0] * 10)})
    show(reported(log, 2, record(kind="interleaved"), NOW))

    assert "preferred: b by 60, the control by 20, neither by 10" in capsys.readouterr().out


def test_lists_of_an_arm_are_counted_since_it_began(log, capsys):
    slate(log, 0, "a", ["i3"], BEGAN - 5)
    slate(log, 1, "a", ["i0", "i1"])
    slate(log, 2, "b", ["i0", "i2"])
    slate(log, 3, "b", [], same_as="r2")
    slate(log, 4, "b", [], same_as="r0")
    slate(log, 5, "", ["i3"])
    log.append("slates", 0, b"u", b"nonsense", BEGAN)
    found = shown(log, record())

    assert found["items"] == 4
    assert found["arms"]["a"] == {
        "lists": 1, "places": 2, "items": 2, "coverage": 0.5, "coverage_alike": pytest.approx(0.5), "gini": 0.0
    }  # fmt: skip
    assert found["arms"]["b"]["lists"] == 2
    assert found["arms"]["b"]["gini"] == 0.5
    assert found["arms"]["b"]["coverage_alike"] < 0.5
    assert found["left_out"] == {"slates that cannot be read": 1, "copies of slates from before": 1}
    show(reported(log, 2, record(), NOW, lists=True))
    assert "coverage_alike" in capsys.readouterr().out


def test_no_lists_and_no_catalogue_are_no_error():
    assert shown(Log(partitions=1), record()) == {"items": 0, "categories": 0, "arms": {}, "left_out": {}}


@pytest.mark.parametrize("places", [1, 5, 17, 40])
def test_coverage_of_fewer_places_is_that_of_places_drawn_at_random(places):
    counts = np.array([20, 10, 5, 3, 1, 1])
    draw = np.random.default_rng(places)
    pool = np.repeat(np.arange(6), counts)
    seen = [len(set(draw.choice(pool, places, replace=False).tolist())) for _ in range(4_000)]

    assert rarefied(counts, places) == pytest.approx(np.mean(seen), abs=0.06)


def test_items_are_units_by_what_all_users_did_with_them(log):
    tried = record(unit="item", metrics={})
    arm_of = arm_of_item(tried.current, NOW)
    arms = {f"i{n}": arm_of(f"i{n}") for n in range(4)}
    slate(log, 1, "", ["i0", "i1"])
    slate(log, 2, "", ["i0"], same_as="")
    for n, (kind, item, at) in enumerate(
        [("click", "i0", BEGAN), ("click", "i0", NOW), ("click", "i1", BEGAN - DAY), ("click", "i0", BEGAN - 9 * DAY),
         ("impression", "i1", BEGAN), ("click", "unknown", BEGAN), ("purchase", "i3", BEGAN)]
    ):  # fmt: skip
        act(log, n, kind, item, at)
    said, sheets = items.outcomes(log, tried, NOW)
    found = {arm: sheets[1, arm] for arm in ("a", "b")}
    totals = found["a"].gram + found["b"].gram

    assert found["a"].names == ("lists", "click", "purchase", "pre.click")
    assert totals[0].tolist() == [4, 3, 2, 1, 1]
    assert found[arms["i0"]].gram[0, 2] == 2
    assert set(said.current.metrics) == {"click", "purchase", "click per list", "purchase per list"}
    assert reported(log, 2, tried, NOW)["units"] == dict(sorted(Counter(arms.values()).items()))


def test_items_count_nothing_that_came_after_the_end(log):
    tried = record(unit="item", metrics={})
    ends = (Decision("stopped", BEGAN + DAY), Decision("killed", BEGAN + 2 * DAY))
    over = Record(key="try", state="killed", versions=tried.versions, decided=(*tried.decided, *ends))
    slate(log, 1, "", ["i0", "i1"])
    act(log, 1, "click", "i0", BEGAN + DAY)
    then = reported(log, 2, tried, BEGAN + DAY)
    slate(log, 2, "", ["i0"], at=BEGAN + DAY + 1)
    act(log, 2, "click", "i0", BEGAN + DAY + 2)

    assert reported(log, 2, over, NOW)["comparisons"] == then["comparisons"]
    assert reported(log, 2, tried, NOW)["comparisons"] != then["comparisons"]


def test_a_version_began_when_it_was_last_started():
    assert catalogue.began(record()) == BEGAN
    tried = record()
    never = Record(key="try", versions=tried.versions, decided=tried.decided[:2])
    assert catalogue.began(never) == BEGAN - 9
