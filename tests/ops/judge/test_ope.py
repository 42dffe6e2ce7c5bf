"""A configuration judged from another one's slates: its true worth where the log supports it, and a no where not."""

import dataclasses
import json

import msgspec
import numpy as np
import pytest

from models import join, marks
from models.join import Shown
from models.surfaces import Explore, load
from ops.judge.ope import ope, text
from ops.past.what_if import MINUTE
from streams import examples
from streams.errors import Refused
from streams.events import Event
from streams.partition import partition_of
from tests.ops.past.served import Served
from tests.ops.past.world import START, World

END = START + 10**9
LUCE = Explore(kind="plackett-luce", slots=1, temperature=1.0, budget=1.0)
OPEN = 7  # the place of a list of 8 that explores


def config(**home):
    whole = load()
    surfaces = whole.surfaces | {"home": msgspec.structs.replace(whole.surfaces["home"], seen="keep", **home)}
    return msgspec.structs.replace(whole, surfaces=surfaces)


LOGGING = config(explore=LUCE)


@pytest.fixture(scope="module")
def world():
    made = World(5)
    made.live(60)
    made.now = made.now // MINUTE * MINUTE + MINUTE
    return made


@pytest.fixture(scope="module")
def on(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ope")
    return world.ground(
        folder / "snapshots", settings=dataclasses.replace(world.settings, data=folder / "data")
    )


class Clicked(Served):
    """Slates that are clicked: an item's chance goes by its number, at any place."""

    def __init__(self, *args):
        super().__init__(*args)
        self._draw = np.random.default_rng(7)

    def ask(self, user="", **values):
        slate = super().ask(user, **values)
        for shown in slate.items:
            if self._draw.random() < worth(shown.item_id):
                self.click(slate, shown.item_id)
        return slate

    def click(self, slate, item, kind="click"):
        """Write down what the users stage says of it."""
        shown, world = Shown(), self._world
        join.show(shown, slate, 0, marks.source(1, 0, 0))
        click = Event(
            event_id="c", type=kind, at=slate.at + 1_000, user_id=slate.user_id, item_id=item,
            request_id=slate.request_id,
        )  # fmt: skip
        origin = 10_000 + 100 * self.count + len(item)
        _, said = join.act(shown, click, origin, marks.source(0, 0, 0), self._on.weights)
        if said is not None:  # what was ranked without features is not joined
            number = partition_of(slate.user_id, world.settings.partitions)
            world.log.append("examples", 0, b"", examples.encode(0, number, [said]), click.at)


def worth(item):
    return 0.05 + 0.5 * (int(item.partition("-")[2]) % 4 == 0)


class Unlogged(Served):
    """Slates that nobody sees."""

    def log(self, slate):
        """Write nothing down."""


@pytest.fixture(scope="module")
def slates(world, on, tmp_path_factory):
    served = Clicked(world, on, tmp_path_factory.mktemp("served"), LOGGING)
    made = [served.ask(f"user-{n % 12}") for n in range(240)]
    served.close()
    return [slate for slate in made if slate.features]


@pytest.fixture(scope="module")
def same(on, slates):
    """What is found when the configuration that served is judged."""
    return ope(on, LOGGING, LOGGING, START, END)


def test_what_served_is_judged_by_what_was_done(same, slates):
    assert same["slates"] == len(slates)
    home = same["surfaces"]["home"]
    assert same["surfaces"]["all"] == home
    assert home["lists"] == home["explored_places"] == len(slates)
    for part in (home["by_place"], home["by_list"]):
        assert part["ips"]["value"] == part["snips"]["value"] == part["logged"]["value"] > 0
        assert (part["ips"]["gain"], part["ips"]["gain_low"], part["ips"]["gain_high"]) == (0, 0, 0)
        assert (part["mean_weight"], part["largest_weight"]) == (1.0, 1.0)
        assert part["effective"] == len(slates)
    assert (home["by_place"]["unsupported"], home["by_place"]["fidelity"]) == (0.0, 1.0)
    assert home["verdict"] == "no difference found"
    clicks = sum(worth(slate.items[OPEN].item_id) for slate in slates) / len(slates)
    assert home["by_place"]["logged"]["value"] == pytest.approx(clicks, abs=0.1)


def test_another_configuration_is_judged_by_what_it_would_do(world, on, slates, tmp_path):
    """Its worth is known: its lists are drawn many times, and what they would be clicked is looked up."""
    other = config(explore=msgspec.structs.replace(LUCE, temperature=0.3))
    drawn = Unlogged(world, on, tmp_path, other)
    users = [slate.user_id for slate in slates] * 3
    truth = np.mean([worth(drawn.ask(user).items[OPEN].item_id) for user in users])
    drawn.close()
    home = ope(on, LOGGING, other, START, END, surface="home")["surfaces"]["home"]
    place = home["by_place"]
    for name in ("ips", "snips", "doubly_robust"):
        assert abs(place[name]["value"] - truth) < 1.5 * (place[name]["high"] - place[name]["value"])
    assert abs(place["mean_weight"] - 1.0) < 0.25
    assert (place["unsupported"], place["fidelity"]) == (0.0, 1.0)
    assert 20 < place["effective"] < len(slates)
    assert place["clipped"]["at"] == pytest.approx(len(slates) ** 0.5)


def test_what_was_never_shown_cannot_be_judged(on, slates):
    other = config(explore=LUCE, pins={"item-29": OPEN + 1})
    home = ope(on, LOGGING, other, START, END)["surfaces"]["home"]
    assert home["verdict"] == "too little support"
    shown = sum(slate.items[OPEN].item_id == "item-29" for slate in slates) / len(slates)
    assert home["by_place"]["unsupported"] <= 1.0 - shown
    assert home["by_list"]["mean_weight"] < 0.5


def test_lists_that_explore_nothing_say_so(world, tmp_path):
    on = world.ground(tmp_path / "s", settings=dataclasses.replace(world.settings, data=tmp_path / "data"))
    found = ope(on, LOGGING, LOGGING, START, START)
    assert found["surfaces"]["all"] == {
        "lists": 0,
        "explored_places": 0,
        "verdict": "too little support",
        "reasons": ["none of the places explores"],
    }


def test_only_the_action_asked_for_counts_and_only_what_is_joined(on, slates):
    found = ope(on, LOGGING, LOGGING, START, END, action="purchase")
    assert found["surfaces"]["home"]["by_place"]["ips"]["value"] == 0.0
    assert "0 of the places were acted on" in found["surfaces"]["home"]["reasons"][-1]
    assert found["surfaces"]["home"]["verdict"] == "too little support"
    with pytest.raises(
        Refused, match=r"--action impression: it is not joined with slates; there are .*click"
    ):
        ope(on, LOGGING, LOGGING, START, END, action="impression")


def test_a_report_is_json_and_lines(same, slates):
    assert json.loads(json.dumps(same, allow_nan=False)) == same
    said = "\n".join(text(same))
    assert f"home: no difference found\n  {len(slates)} explored places, {len(slates)} effective" in said
    assert f"  {len(slates)} lists" in said
    assert "doubly_robust" in said


def test_slates_without_a_join_are_counted_with_their_reason(world, tmp_path):
    on = world.ground(tmp_path / "s", settings=dataclasses.replace(world.settings, data=tmp_path / "data"))
    served = Served(world, on, tmp_path / "served", LOGGING)
    at, world.now = world.now, world.now + 10 * MINUTE
    served.ask("nobody-known")
    served.ask(operation="similar", beside="item-2")
    good = served.ask("user-1")
    served.log(msgspec.structs.replace(good, request_id="both", teams=(0, 1, 1, 0, -1, 0, 1, 0)))
    served.close()
    begin, world.now = world.now, at
    found = ope(on, LOGGING, LOGGING, begin, begin)
    assert found["slates"] == 1
    assert {reason.partition(":")[0]: count for reason, count in found["skipped"].items()} == {
        "ranked without features (rung popular_in_context)": 1,
        "asked for nobody": 1,
        "interleaved": 1,
    }
