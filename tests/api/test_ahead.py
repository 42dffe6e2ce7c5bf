"""Lists computed ahead: there before they are asked for, logged when they are served, and only for whom it was said."""

import asyncio
import time
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import ahead
from api.ahead import Ahead, Habit
from api.answers import Hit, Request
from api.engine import Engine
from api.fake import Fake
from models.surfaces import parse
from streams.events import Event
from streams.exposures import Exposure
from streams.items import Item
from streams.slates import Asked, decode

NOW = 1_750_000_000_000
HOME = {"ttl_s": 5.0, "budget_ms": 10_000.0, "ahead": {"share": 1.0, "ttl_s": 30.0}}


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


class Scene:
    """An engine and what watches it, over users who each clicked one item."""

    def __init__(self, **home):
        self.fake = Fake.of(
            [], {f"i{n}": Item(categories=(f"k{n % 3}",)) for n in range(30)}, NOW, dimensions=16
        )
        self.clock, self.fates, self.answers, self.clicks = Clock(), Counter(), Counter(), 0
        for n in range(4):
            self.click(f"u{n}", n)
        self.fake.refresh(NOW)
        config = parse({"surfaces": {"home": HOME | home, "other": {}}})
        self.engine = Engine(
            self.fake.state, config, self.clock, count=lambda _, labels: self.answers.update([labels["rung"]])
        )
        self.ahead = Ahead(self.engine, lambda: NOW + 5, lambda fate: self.fates.update([fate]), self.clock)

    def click(self, user, item):
        self.clicks += 1
        event = Event(
            event_id=f"c{self.clicks}",
            type="click",
            at=NOW - 1000 + self.clicks,
            user_id=user,
            item_id=f"i{item}",
        )
        self.fake.fold([event])

    def ask(self, user, **more):
        request = Request(**({"at": NOW + 9, "user_id": user, "n": 5} | more))
        served = self.engine.cached(request) or self.engine.recommend(request)
        self.ahead.asked(request, served.request_id)
        return served

    def step(self):
        self.clock.now += ahead.SETTLE
        while self.ahead._queue:
            self.ahead.step()


@pytest.fixture
def scene():
    return Scene()


def test_the_list_is_there_when_it_is_asked_for_and_knows_the_click(scene):
    scene.ask("u1")
    scene.click("u1", 9)
    scene.step()
    assert scene.fates == {"computed": 1}
    hit = scene.ask("u1")
    assert isinstance(hit, Hit)
    assert hit.first.rung == "ahead"
    assert "i9" not in [item.item_id for item in hit.first.items]  # it was clicked, so it is seen
    assert hit.first.state["user_offset"] == scene.fake.user_offset(scene.fake.user("u1"))
    assert scene.fates == {"computed": 1, "used": 1}
    assert scene.answers == {"full": 1, "ahead": 1}


def test_the_first_who_gets_it_leaves_its_slate_and_the_next_repeats_it(scene):
    scene.ask("u1")
    scene.click("u1", 9)
    scene.step()
    first, again = scene.ask("u1"), scene.ask("u1")
    slate, repeated = scene.engine.slate(first), scene.engine.slate(again)
    assert (slate.request_id, slate.rung, slate.at, slate.same_as) == (first.request_id, "ahead", NOW + 9, "")
    assert len(slate.items) == 5
    assert all(item.features for item in slate.items)
    assert (repeated.same_as, repeated.rung) == (first.request_id, "cached")
    assert scene.fates == {"computed": 1, "used": 1}


def test_it_is_as_good_as_an_answer(scene):
    scene.ask("u1")
    scene.click("u1", 9)
    fresh = scene.engine.recommend(Request(at=NOW + 5, user_id="u1", n=5, request_id="same"))
    scene.click("u1", 9)
    scene.step()
    waited = scene.engine.recommend(Request(at=NOW + 9, user_id="u1", n=5))
    assert waited.rung == "ahead"
    assert {item.item_id for item in waited.items} - {item.item_id for item in fresh.items} <= {
        item.item_id for item in waited.items if item.source == "explore"
    }


def test_only_what_was_asked_for_before_is_computed(scene):
    scene.click("u0", 9)
    scene.ask("u1", surface="other")
    scene.ask("u2", categories=("k1",))
    scene.ask("u3", exclude=("i1",))
    for user in ("u1", "u2", "u3"):
        scene.click(user, 9)
    scene.step()
    assert not scene.fates
    scene.ask("u1", n=3, context={"country": "de"})
    scene.click("u1", 10)
    scene.step()
    assert isinstance(scene.ask("u1", n=3, context={"country": "de"}), Hit)
    assert not isinstance(scene.ask("u1", n=4, context={"country": "de"}), Hit)


def test_several_events_cost_one_list_and_an_event_behind_it_wastes_it(scene):
    scene.ask("u1")
    for item in (9, 10, 11):
        scene.click("u1", item)
    scene.step()
    assert scene.fates == {"computed": 1}
    scene.click("u1", 12)
    assert scene.fates == {"computed": 1, "wasted": 1}
    scene.step()
    assert scene.fates == {"computed": 2, "wasted": 1}


def test_to_be_shown_a_list_is_nothing_a_user_did(scene):
    scene.ask("u2")
    scene.ask("u1")
    scene.click("u1", 9)
    scene.step()
    shown = Event(
        event_id="x",
        type="exposure",
        at=NOW,
        user_id="u1",
        value=5.0,
        exposures=(Exposure("try", 1, "new", ("lists",)),),
    )
    scene.fake.fold([shown, msgspec.structs.replace(shown, event_id="y", user_id="u2")])
    assert not scene.ahead._queue
    assert scene.fates == {"computed": 1}
    assert isinstance(scene.ask("u1"), Hit)
    assert scene.fates == {"computed": 1, "used": 1}


def test_what_nobody_comes_for_is_wasted_and_not_served(scene):
    scene.ask("u1")
    scene.click("u1", 9)
    scene.step()
    scene.clock.now += 31.0
    assert not isinstance(scene.ask("u1"), Hit)
    scene.ask("u2")
    scene.click("u2", 9)
    scene.step()
    assert scene.fates == {"computed": 2, "wasted": 1}


def test_only_the_most_active_are_computed_for():
    scene = Scene(ahead={"share": 0.25, "ttl_s": 30.0})
    for user in ("u0", "u1", "u2", "u3"):
        scene.ask(user)
    for _ in range(5):
        scene.ask("u2")
    scene.ahead._rank(scene.clock())
    for user in ("u0", "u1", "u2", "u3"):
        scene.click(user, 9)
    scene.step()
    assert scene.fates == {"computed": 1}
    assert isinstance(scene.ask("u2"), Hit)
    assert not isinstance(scene.ask("u1"), Hit)


def test_the_queue_is_bounded_and_forgets_what_waited_too_long(scene, monkeypatch):
    monkeypatch.setattr(ahead, "WAITING", 2)
    for user in ("u0", "u1", "u2"):
        scene.ask(user)
        scene.click(user, 9)
    assert scene.fates == {"dropped": 1}
    scene.clock.now += ahead.LONGEST + 1.0
    scene.step()
    assert scene.fates == {"dropped": 3}


def test_users_are_bounded(scene, monkeypatch):
    monkeypatch.setattr(ahead, "USERS", 2)
    for n in range(4):
        scene.ask(f"u{n}")
    assert list(scene.ahead._of) == ["u2", "u3"]


def test_it_is_off_by_default(scene):
    off = Scene(ahead={})
    off.ask("u1")
    off.click("u1", 9)
    assert not off.ahead._of
    assert not off.ahead._queue


def test_another_state_is_watched_once_it_is_served(scene):
    scene.ask("u1")
    scene.click("u1", 9)
    scene.step()
    other = Scene()
    scene.engine.serve(other.fake.state)
    scene.ahead.serve(other.fake.state)
    assert scene.fates == {"computed": 1, "wasted": 1}
    scene.fake = other.fake
    scene.click("u1", 10)
    scene.step()
    assert isinstance(scene.ask("u1"), Hit)


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=50))
def test_activity_is_a_decayed_sum(times):
    habit = Habit(None)
    for now in times:
        habit.act(now)
    last = max(times)
    exact = sum(2.0 ** ((now - last) / ahead.HALF_LIFE) for now in times)
    assert 2.0 ** (habit.level - last / ahead.HALF_LIFE) == pytest.approx(exact)


def test_it_works_in_idle_moments():
    scene = Scene()
    scene.ahead._clock = time.perf_counter

    async def live():
        await scene.ahead.start()
        scene.ask("u1")
        scene.click("u1", 9)
        for _ in range(1000):
            await asyncio.sleep(0.005)
            if scene.fates:
                break
        await scene.ahead.stop()

    asyncio.run(live())
    assert scene.fates == {"computed": 1}


def test_the_api_serves_and_logs_it(make_api, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[surfaces.home]\nahead = { share = 1.0 }\nbudget_ms = 1000.0\n")
    first = Event(event_id="a", type="click", at=NOW - 5, user_id="anna", item_id="item-1")
    api = make_api(events=[first], config=str(path))
    api.client.get("/v1/recommend/anna?n=5")
    api.client.portal.call(
        api.fake.fold, [Event(event_id="b", type="click", at=NOW, user_id="anna", item_id="item-9")]
    )
    until = time.monotonic() + 10
    while time.monotonic() < until and 'fate="computed"} 1.0' not in api.client.get("/metrics").text:
        time.sleep(0.02)
    said = api.client.get("/v1/recommend/anna?n=5").json()
    assert said["rung"] == "ahead"
    assert 'refold_ahead_total{fate="used"} 1.0' in api.client.get("/metrics").text
    while time.monotonic() < until:
        logged = {
            slate.request_id: slate for _, value in api.slates.records("slates") for slate in [decode(value)]
        }
        if said["request_id"] in logged:
            break
        time.sleep(0.02)
    assert logged[said["request_id"]].asked == Asked(n=5)
