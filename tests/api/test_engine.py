"""Laws of an answer: full, allowed, varied, explained, cached until the user acts, and never an error."""

import json
import logging
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.answers import Answer, Request
from api.engine import Engine
from api.fake import Fake
from api.rankers import Fixed
from models.assignment import Assigner
from models.assignment import Fixed as Settled
from models.boosted import Boosted
from models.calibration import Platt
from models.features import NAMES
from models.surfaces import load, parse
from models.trees import Trees
from streams import slates
from streams.errors import Refused
from streams.events import Event
from streams.experiments import Arm, Decision, Definition, Known, Record
from streams.items import Item
from tests.models.test_blended import by_bias

NOW = 1_750_000_000_000
HOUR = 3_600_000
CONFIG = load()


class Clock:
    """Seconds that pass only when told to, or by `step` at every look."""

    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def click(user, item, n, fake, at=NOW):
    event = {"event_id": f"{user}-{item}-{n}", "type": "click", "at": at, "item_id": f"i{item}"}
    return Event(
        user_id=user, categories=fake.items[f"i{item}"].catalogue["categories"], surface="home", **event
    )


def shop(items=80, kinds=8, users=15, seed=0, clicks=12, **more):
    rng = np.random.default_rng(seed)
    fake = Fake(16)
    for n in range(items):
        fake.put(f"i{n}", Item(categories=(f"k{n % kinds}",), published_at=NOW - n * HOUR, **more))
    for u in range(users):
        fake.fold(
            click(f"u{u}", int(rng.integers(items)), k, fake, NOW - (clicks - k) * HOUR)
            for k in range(clicks)
        )
    fake.refresh(NOW)
    return fake


def engine_of(fake, config=CONFIG, **more):
    return Engine(fake.state, config, more.pop("clock", Clock()), **more)


def ids(answer):
    return [item.item_id for item in answer.items]


FAKE = shop()
ENGINE = engine_of(FAKE)


@settings(deadline=None, max_examples=80)
@given(
    user=st.integers(0, 20),
    n=st.integers(1, 60),
    surface=st.sampled_from(sorted(CONFIG.surfaces)),
    kinds=st.lists(st.integers(0, 9), max_size=3),
    exclude=st.lists(st.integers(0, 85), max_size=20),
    explain=st.booleans(),
)
def test_a_list_is_full_allowed_and_varied(*, user, n, surface, kinds, exclude, explain):
    request = Request(
        at=NOW, user_id=f"u{user}", n=n, surface=surface, categories=tuple(f"k{k}" for k in kinds),
        exclude=tuple(f"i{x}" for x in exclude), explain=explain,
    )  # fmt: skip
    answer = ENGINE.recommend(request)
    row = FAKE.user(f"u{user}")
    seen = {item for item, *_ in row.history} if row and CONFIG.surfaces[surface].seen == "exclude" else set()
    allowed = {
        f"i{x}" for x in range(80)
        if (not kinds or x % 8 in kinds) and x not in exclude and f"i{x}" not in seen
    }  # fmt: skip
    got = ids(answer)
    assert len(got) == len(set(got)) == min(n, len(allowed))
    assert set(got) <= allowed
    cap = CONFIG.surfaces[surface].max_per_category
    if cap and not kinds and len(allowed) >= 60:
        assert max(Counter(int(item[1:]) % 8 for item in got[:10]).values(), default=0) <= cap
    assert all(0 < item.propensity <= 1 for item in answer.items)
    assert answer.rung in ({"full", "cached"} if row else {"popular_in_context", "cached"}) or not got


def test_only_what_may_be_shown_is_shown():
    fake = shop(items=30)
    fake.put("i0", Item(available=False))
    fake.put("i1", Item(expires_at=NOW - 1))
    fake.put("i2", Item(published_at=NOW + 1))
    fake.put("i3", None)
    fake.refresh(NOW)
    engine = engine_of(fake)
    for user in ("u1", "nobody"):
        assert not {"i0", "i1", "i2", "i3"} & set(ids(engine.recommend(Request(at=NOW, user_id=user, n=30))))
    assert not {"i0", "i1", "i2", "i3"} & set(ids(engine.popular(30, at=NOW)))


def test_an_answer_says_where_it_comes_from():
    answer = ENGINE.recommend(Request(at=NOW, user_id="u2", explain=True))
    assert answer.rung == "full"
    assert set(answer.models) == {"light"}
    assert answer.state["lag"] == 0
    assert answer.state["user_offset"] == FAKE.user_offset(FAKE.user("u2"))
    assert set(answer.counts) >= {"related", "ann", "similar", "fresh", "popular", "trending"}
    assert len(answer.items) <= answer.counts["candidates"] <= 80
    assert set(answer.stages) >= {"asker", "ann", "filter", "features", "score", "rerank", "answer"}
    for item in answer.items:
        assert set(item.features) == set(NAMES)
        assert item.ages["session"] == 0
        assert item.ages["experience"] == NOW - FAKE.user("u2").last_at
        slot = FAKE.columns.slot_of[item.item_id]
        assert item.ages.get("popular_day", -1) in (-1, NOW - FAKE.columns.last_at[slot])
        assert item.source
    assert json.loads(msgspec.json.encode(answer))["items"]


def test_explained_scores_are_the_model_of_the_features():
    from models.scorer import light

    answer = ENGINE.recommend(Request(at=NOW, user_id="u2", explain=True, surface="cart"))
    rows = np.array([[item.features[name] for name in NAMES] for item in answer.items], np.float32)
    scores = light().score(rows, light().mix(CONFIG.surfaces["cart"].actions))
    np.testing.assert_allclose([item.score for item in answer.items], scores, rtol=1e-4)


def test_the_cache_serves_again_until_the_user_acts():
    fake = shop()
    clock, counted = Clock(), []
    engine = engine_of(fake, clock=clock, count=lambda name, labels: counted.append((name, labels["rung"])))
    request = Request(at=NOW, user_id="u3", n=10)
    assert engine.cached(request) is None
    first = engine.recommend(request)
    hit = engine.cached(request)
    said = msgspec.json.decode(hit.body, type=Answer)
    assert said.rung == "cached"
    assert said.request_id == hit.request_id != first.request_id
    assert said.items == first.items
    again = engine.recommend(request)
    assert again.rung == "cached"
    assert ids(again) == ids(first)
    assert [engine.slate(x).same_as for x in (hit, again, first)] == [first.request_id, first.request_id, ""]
    assert engine.cached(msgspec.structs.replace(request, n=11)) is None
    assert engine.cached(msgspec.structs.replace(request, context={"country": "no"})) is None
    assert engine.cached(msgspec.structs.replace(request, explain=True)) is None
    fake.fold([click("u4", 5, 99, fake)])
    assert engine.cached(request) is not None
    clicked = int(first.items[0].item_id[1:])
    fake.fold([click("u3", clicked, 99, fake, NOW + 1)])
    assert engine.cached(request) is None
    after = engine.recommend(msgspec.structs.replace(request, at=NOW + 2))
    assert after.rung == "full"
    assert first.items[0].item_id not in ids(after)
    assert engine.cached(request)
    clock.now += 60
    assert engine.cached(request) is None
    assert counted.count(("answers", "cached")) == 4


def test_a_list_changes_with_the_next_event():
    fake = shop()
    engine = engine_of(fake)
    before = engine.recommend(Request(at=NOW, user_id="u5", surface="cart", explain=True))
    fake.fold(click("u5", 33, k, fake, NOW + k) for k in range(3))
    after = engine.recommend(Request(at=NOW + 5, user_id="u5", surface="cart", explain=True))
    assert ids(before) != ids(after)
    assert after.state["user_offset"] > before.state["user_offset"]


def test_a_stranger_gets_what_is_popular_and_a_session_makes_it_personal():
    engine = engine_of(FAKE)
    stranger = engine.recommend(Request(at=NOW, user_id="new"))
    assert stranger.rung == "popular_in_context"
    assert "nothing is known" in stranger.reason
    session = tuple(
        Event(event_id=f"s{k}", type="click", at=NOW - k, session_id="s", item_id="i9") for k in range(2)
    )
    answer = engine.recommend(Request(at=NOW, session=session, explain=True))
    assert answer.rung == "full"
    assert "i9" not in ids(answer)
    assert max(item.features["affinity"] for item in answer.items) == 1.0  # the item's categories were added
    assert engine.cached(Request(at=NOW, session=session)) is None
    assert FAKE.user("session:s") is None
    known = FAKE.user("u1").row()
    engine.recommend(Request(at=NOW, user_id="u1", session=session))
    assert FAKE.user("u1").row() == known


def test_similar_is_about_the_item_and_popular_about_nobody():
    answer = ENGINE.similar("i8", 10, at=NOW)
    assert answer.rung == "full"
    assert len(answer.items) == 10
    assert "i8" not in ids(answer)
    assert ENGINE.similar("nothing", at=NOW).rung == "empty"
    assert "nothing" in ENGINE.similar("nothing", at=NOW).reason
    popular = ENGINE.popular(5, at=NOW)
    assert popular.rung == "popular_in_context"
    slots, _ = FAKE.popular("surface:home", NOW)
    assert FAKE.columns.ids[slots[0]] in ids(popular)
    assert {int(item[1:]) % 8 for item in ids(ENGINE.popular(5, category="k3", at=NOW))} == {3}


def test_a_cold_item_has_neighbours_of_its_kind():
    fake = shop()
    fake.put("i900", Item(categories=("k2",)))
    fake.refresh(NOW)
    answer = engine_of(fake).similar("i900", 20, at=NOW, explain=True)
    assert answer.counts["similar"]
    assert (answer.rung, answer.reason) == ("light", "nothing is known of what this user chose yet")
    assert sum(int(item[1:]) % 8 == 2 for item in ids(answer)[:10]) == 3  # as many as one kind may have


def test_an_empty_catalogue_is_an_answer_too():
    engine = engine_of(Fake(16))
    for answer in (engine.recommend(Request(at=NOW, user_id="u")), engine.popular(at=NOW)):
        assert answer.rung == "empty"
        assert answer.reason
        assert not answer.items
    assert ENGINE.recommend(Request(at=NOW, user_id="u1", categories=("none",))).rung == "empty"


def test_better_seen_than_blank():
    fake = shop(items=5, users=1, clicks=0)
    fake.fold(click("u0", k, k, fake) for k in range(5))
    fake.refresh(NOW)
    answer = engine_of(fake).recommend(Request(at=NOW, user_id="u0"))
    assert len(answer.items) == 5
    assert "seen" in answer.reason


def test_an_unknown_surface_is_refused_by_name():
    with pytest.raises(Refused, match="'lobby' is not configured; there are cart"):
        ENGINE.recommend(Request(at=NOW, user_id="u1", surface="lobby"))


class Broken:
    """A part that fails when it is used."""

    def __getattr__(self, name):
        raise RuntimeError(f"{name} is broken")


@pytest.mark.parametrize(
    ("rung", "broken"),
    [
        ("light", ("space.y",)),
        ("popular_in_context", ("space.y", "users")),
        ("popular", ("users", "collect")),
        ("empty", ("users", "collect", "fill")),
    ],
)
def test_every_rung_is_reached_and_none_is_an_error(monkeypatch, caplog, rung, broken):
    caplog.set_level(logging.CRITICAL)
    fake = shop()

    def fail(*_, **__):
        raise RuntimeError("broken")

    if "space.y" in broken:
        monkeypatch.setattr("api.funnel.gather", fail)
    if "users" in broken:
        monkeypatch.setattr(fake, "user", fail)
    if "collect" in broken:
        monkeypatch.setattr("api.funnel.collect", fail)
    if "fill" in broken:
        monkeypatch.setattr("api.filter.Filter.fill", fail)
    counted = []
    engine = engine_of(fake, count=lambda name, labels: counted.append((name, labels["rung"])))
    answer = engine.recommend(Request(at=NOW, user_id="u1"))
    assert answer.rung == rung
    assert answer.reason
    assert bool(answer.items) == (rung != "empty")
    assert ("answers", rung) in counted
    assert any(name == "failures" for name, _ in counted)
    assert slates.decode(slates.encode(engine.slate(answer))).rung == rung


def test_a_source_that_fails_is_left_out(monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)
    fake = shop()
    monkeypatch.setattr(fake, "search", Broken().__getattr__)
    answer = engine_of(fake).recommend(Request(at=NOW, user_id="u1", explain=True))
    assert answer.rung == "full"
    assert len(answer.items) == 20
    assert "ann" not in answer.counts


def test_a_spent_budget_serves_the_stale_list_or_the_light_one():
    fake, clock = shop(), Clock()
    engine = engine_of(fake, clock=clock)
    clock.step = 0.002  # every look at the clock costs 2 ms
    light = engine.recommend(Request(at=NOW, user_id="u1"))
    assert light.rung == "light"
    assert "budget" in light.reason
    assert len(light.items) == 20
    clock.step = 0.0
    full = engine.recommend(Request(at=NOW, user_id="u1"))
    assert full.rung == "full"
    clock.now += 3600
    clock.step = 0.002
    stale = engine.recommend(Request(at=NOW, user_id="u1"))
    assert stale.rung == "cached"
    assert "budget" in stale.reason
    assert ids(stale) == ids(full)


def test_slates_hold_what_was_served_with_its_features():
    engine = engine_of(FAKE)
    answer = engine.recommend(Request(at=NOW, user_id="u6", n=12))
    slate = slates.decode(slates.encode(engine.slate(answer)))
    assert slate.request_id == answer.request_id
    assert slate.at == NOW
    assert slate.features == NAMES
    assert [shown.item_id for shown in slate.items] == ids(answer)
    assert [shown.position for shown in slate.items] == list(range(12))
    assert all(len(shown.features) == len(NAMES) for shown in slate.items)
    assert {shown.propensity for shown in slate.items} <= {item.propensity for item in answer.items}


def test_exploration_is_logged_with_its_chance():
    config = parse({"surfaces": {"home": {"explore": {"slots": 2, "epsilon": 1.0}, "ttl_s": 0.0}}})
    engine = engine_of(shop(items=300, kinds=40), config)
    answer = engine.recommend(Request(at=NOW, user_id="u1"))
    explored = [item for item in answer.items if item.source == "explore"]
    assert len(explored) == 2
    assert all(item.propensity < 0.2 for item in explored)
    lists = {tuple(ids(engine.recommend(Request(at=NOW, user_id="u1")))) for _ in range(8)}
    assert len(lists) > 1


def test_arms_override_the_surface_and_are_said():
    config = parse({"surfaces": {"home": {}}})
    arms = {"keep": Arm(), "again": Arm(set={"seen": "keep", "ttl_s": 0.0})}
    short = Definition(key="short", arms=arms, control="keep")
    record = Record(key="short", state="running", versions=(short,), decided=(Decision("running", 0),))
    engine = engine_of(FAKE, config, experiments=Settled(Assigner(Known({"short": record}), config, NOW)))
    arms = {}
    for u in range(15):
        answer = engine.recommend(Request(at=NOW, user_id=f"u{u}", n=80))
        arms[answer.arms["short"]] = len(answer.items)
        assert engine.slate(answer).arms == answer.arms
    assert set(arms) == {"keep", "again"}
    session = (Event(event_id="s", type="click", at=NOW, session_id="s", item_id="i9"),)
    assert engine.recommend(Request(at=NOW, session=session)).arms["short"] in arms
    assert not engine.recommend(Request(at=NOW)).arms
    assert arms["again"] == 80 > arms["keep"]


def listed(**home):
    home = {"max_per_category": 0, "explore": {"slots": 0}} | home
    answer = engine_of(FAKE, parse({"surfaces": {"home": home}})).recommend(
        Request(at=NOW, user_id="u1", n=80)
    )
    return answer, ids(answer)


def places(got, chosen):
    return sum(got.index(item) for item in chosen if item in got)


def test_pins_and_boosts():
    answer, got = listed(pins={"i70": 1, "i71": 3, "gone": 2})
    assert (got[0], got[2]) == ("i70", "i71")
    assert answer.items[0].source == "pin"
    kind = [item for item in got if int(item[1:]) % 8 == 4]
    assert places(listed(boosts={"k4": 50.0})[1], kind) < places(listed()[1], kind)
    assert places(listed(boosts={"k4": 0.0})[1], kind) > places(listed()[1], kind)


def test_a_surface_may_demote_what_was_seen_or_exempt_it():
    seen = {item for item, *_ in FAKE.user("u1").history}
    assert places(listed(seen="demote")[1], seen) > places(listed(seen="keep")[1], seen)
    assert len(listed(seen="demote")[1]) == 80
    assert seen & set(listed(seen="exclude", exempt=["k1"])[1]) == {x for x in seen if int(x[1:]) % 8 == 1}


def ranker_of(leaf):
    """A ranker that scores all alike but for the stack's score."""
    trees = Trees(
        np.array([0x7F800000 << 32]), np.array([leaf]), np.zeros(1, np.int64), np.zeros(1, np.int64), 1
    )
    return Boosted(NAMES[:1], trees, Platt(), "0123456789ab")


def test_the_full_tier_ranks_by_the_live_model_and_says_so():
    config = parse({"surfaces": {"home": {"tier": "full"}}})
    engine = engine_of(FAKE, config, rankers=Fixed(ranker=ranker_of(1.0)))

    answer = engine.recommend(Request(at=NOW, user_id="u1"))

    assert (answer.rung, answer.reason, answer.models) == ("boosted", "", {"ranker": "0123456789ab"})
    assert engine.slate(answer).models == {"ranker": "0123456789ab"}
    assert all(0.0 < item.score < 1.0 for item in answer.items)


def test_a_sequence_model_ranks_by_the_trail_where_a_surface_names_it():
    trail = FAKE.user("u1").trail
    some = [item for item in FAKE.columns.ids if item not in trail][:3]
    engine = engine_of(
        FAKE, parse({"surfaces": {"home": {"tier": "full", "model": "sequence"}}}),
        rankers=Fixed(sequence=by_bias([trail[0], some[1]], 0.0, 1e3, weight=1.0)),
    )  # fmt: skip

    answer = engine.recommend(Request(at=NOW, user_id="u1", n=3, offered=tuple(some)))

    assert (answer.rung, answer.reason, list(answer.models)) == ("boosted", "", ["sequence"])
    assert answer.items[0].item_id == some[1]


def test_the_full_tier_falls_to_the_light_one_where_nothing_is_live():
    engine = engine_of(FAKE, parse({"surfaces": {"home": {"tier": "full"}}}))

    answer = engine.recommend(Request(at=NOW, user_id="u1"))

    assert (answer.rung, answer.reason) == ("full", "no version of 'ranker' is live")
    assert set(answer.models) == {"light"}


def test_the_full_tier_falls_to_the_light_one_where_it_breaks():
    class Broken(Boosted):
        def score(self, _lineup):
            raise ValueError("a fault")

    whole = ranker_of(1.0)
    broken = Broken(whole.features, whole.trees, whole.curve, whole.version)
    engine = engine_of(FAKE, parse({"surfaces": {"home": {"tier": "full"}}}), rankers=Fixed(ranker=broken))

    assert engine.recommend(Request(at=NOW, user_id="u1")).rung == "full"


def test_shadows_hear_of_every_scored_request():
    heard = []

    class Listening(Fixed):
        def scored(self, name, lineup, scores):
            heard.append((name, lineup.rows.shape[1], len(lineup.rows) == len(lineup.slots) == len(scores)))
            assert lineup.after == FAKE.user("u1").trail

    engine = engine_of(FAKE, parse({"surfaces": {"home": {}}}), rankers=Listening())
    engine.recommend(Request(at=NOW, user_id="u1"))

    assert heard == [("ranker", len(NAMES), True)]
