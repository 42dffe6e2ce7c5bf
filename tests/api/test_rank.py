"""Candidates of the client's own: these are ranked and no others, under the rules of their surface."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.answers import Request
from api.engine import Engine
from api.fake import Fake
from api.offered import fused
from models.join import Shown, show
from models.surfaces import load, parse
from streams.events import Event
from streams.items import Item
from streams.slates import Asked, decode

NOW = 1_750_000_000_000
CONFIG = load()


def post(api, items, **more):
    offered = [item if isinstance(item, dict) else {"item_id": item} for item in items]
    return api.client.post("/v1/rank", json={"items": offered, **more})


def ids(said):
    return [item["item_id"] for item in said["items"]]


def slate_of(api, request_id):
    until = time.monotonic() + 5
    while time.monotonic() < until:
        for _, value in api.slates.records("slates"):
            if (slate := decode(value)).request_id == request_id:
                return slate
        time.sleep(0.01)
    raise AssertionError("no slate was logged")


def test_just_what_was_sent_is_ranked(api):
    sent = [f"item-{n}" for n in (30, 4, 17, 2, 9)]
    reply = post(api, sent, user_id="anna")
    said = reply.json()
    assert reply.status_code == 200
    assert sorted(ids(said)) == sorted(sent)
    assert (said["user_id"], said["surface"], said["rung"]) == ("anna", "search", "full")
    assert {item["source"] for item in said["items"]} == {"offered"}
    assert ids(post(api, sent, user_id="anna", n=2).json()) == ids(said)[:2]


def test_what_is_not_known_is_kept_at_the_end_in_the_clients_order(api):
    said = post(api, ["new-b", "item-1", "new-a", "item-2"], user_id="anna").json()
    assert set(ids(said)[:2]) == {"item-1", "item-2"}
    assert ids(said)[2:] == ["new-b", "new-a"]
    assert [item["source"] for item in said["items"]] == ["offered", "offered", "unknown", "unknown"]
    alone = post(api, ["new-b", "new-a"]).json()
    assert (ids(alone), alone["rung"]) == (["new-b", "new-a"], "empty")


def test_what_may_not_be_shown_is_left_out_and_said(make_api):
    api = make_api(items={"here": Item(), "sold-out": Item(available=False)})
    said = post(api, ["sold-out", "here"]).json()
    assert ids(said) == ["here"]
    assert "only 1" in said["reason"]


def test_a_session_is_taken_into_account_and_not_stored(api):
    sent = [f"item-{n}" for n in range(35)]
    plain = post(api, sent, surface="cart").json()
    session = [{"type": "purchase", "item_id": "item-1"}]
    after = post(api, sent, surface="cart", session=session).json()
    assert plain["rung"] == "popular_in_context"
    assert after["rung"] == "full"
    assert ids(plain) != ids(after)
    assert post(api, sent, surface="cart").json()["items"] == plain["items"]


def test_the_clients_scores_are_an_order(api):
    sent = [{"item_id": f"item-{n}", "score": n / 7} for n in range(5, 25)]
    best_first = [f"item-{n}" for n in reversed(range(5, 25))]
    assert ids(post(api, sent, user_id="anna").json()) == ids(post(api, best_first, user_id="anna").json())


def engine_with(**search):
    fake = Fake.of([], {f"i{n}": Item(categories=(f"k{n % 2}",)) for n in range(20)}, NOW, dimensions=16)
    clicks = [
        Event(event_id=f"{u}-{n}", type="click", at=NOW - 1000 + n, user_id=f"u{u}", item_id=f"i{n + u % 3}")
        for u in range(9)
        for n in (1, 5, 7)
    ]
    fake.fold(clicks)
    fake.refresh(NOW)
    return Engine(fake.state, parse({"surfaces": {"search": search}}))


def ranked(engine, offered, **more):
    request = Request(at=NOW, user_id="u1", surface="search", n=len(offered), offered=tuple(offered), **more)
    return [item.item_id for item in engine.recommend(request).items]


OFFERED = [f"i{n}" for n in range(19, -1, -1)]
LOOSE = {"seen": "keep", "max_per_category": 0, "explore": {"slots": 0}, "budget_ms": 10_000.0}


def test_with_all_trust_the_clients_order_stands_and_with_none_ours():
    assert ranked(engine_with(trust=1.0, **LOOSE), OFFERED) == OFFERED
    ours = ranked(engine_with(**LOOSE), OFFERED)
    assert ours == ranked(engine_with(**LOOSE), OFFERED)
    assert ours not in (OFFERED, OFFERED[::-1])


def test_the_rules_of_the_surface_hold():
    pinned = ranked(engine_with(pins={"i3": 1, "absent": 2}, **LOOSE), OFFERED)
    assert pinned[0] == "i3"
    assert sorted(pinned) == sorted(OFFERED)
    boosted = ranked(engine_with(boosts={"k1": 1000.0}, **LOOSE), OFFERED)
    assert all(int(item[1:]) % 2 for item in boosted[:10])
    capped = ranked(engine_with(**(LOOSE | {"max_per_category": 5})), OFFERED)
    assert sorted(int(item[1:]) % 2 for item in capped[:10]) == [0] * 5 + [1] * 5
    unseen = ranked(engine_with(**(LOOSE | {"seen": "exclude"})), OFFERED)
    assert set(OFFERED) - set(unseen) == {"i2", "i6", "i8"}


def test_what_was_all_seen_is_better_than_nothing():
    assert sorted(ranked(engine_with(seen="exclude"), ["i2", "i6"])) == ["i2", "i6"]


def test_a_spent_budget_leaves_the_clients_order():
    engine = engine_with(**(LOOSE | {"budget_ms": 1e-6}))
    answer = engine.recommend(Request(at=NOW, user_id="u1", surface="search", n=20, offered=tuple(OFFERED)))
    assert answer.rung == "light"
    assert [item.item_id for item in answer.items] == OFFERED


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40, unique=False), st.floats(0, 1))
def test_where_both_agree_nothing_changes(scores, trust):
    ordered = np.sort(np.array(scores, dtype=np.float32))[::-1]
    merit = (1.0 / (60.0 + np.arange(len(scores)))).astype(np.float32)
    order = np.argsort(-fused(ordered, merit, trust), kind="stable")
    assert order.tolist() == list(range(len(scores)))


def test_its_slate_says_what_was_ranked_and_teaches(api):
    said = post(api, ["item-4", "new", "item-8"], user_id="anna", context={"query": "tea"}).json()
    slate = slate_of(api, said["request_id"])
    assert slate.asked == Asked(operation="rank", n=3, context={"query": "tea"})
    assert [item.item_id for item in slate.items] == ids(said)
    assert [bool(item.features) for item in slate.items] == [True, True, False]
    row = Shown()
    show(row, slate, 1, 1)
    assert [showing.items for showing in row.showings] == [tuple(ids(said)[:2])]


def test_a_long_list_is_answered_whole_and_logged_as_far_as_it_is_looked_at(make_api):
    api = make_api(items={f"item-{n}": Item() for n in range(600)})
    said = post(api, [f"item-{n}" for n in range(600)]).json()
    assert len(said["items"]) == 600
    assert [item.item_id for item in slate_of(api, said["request_id"]).items] == ids(said)[:200]


@pytest.mark.parametrize(
    ("items", "more", "names"),
    [
        ([], {}, "items"),
        ([f"item-{n}" for n in range(1001)], {}, "items"),
        (["item-1", "item-2", "item-1"], {}, "'item-1' is sent twice"),
        ([{"item_id": "item-1", "score": 1.0}, {"item_id": "item-2"}], {}, "1 of 2 have a score"),
        ([{"item_id": "item-1", "price": 1.0}], {}, "price"),
        (["é" * 200], {}, "256 bytes"),
        (["item-1"], {"surface": "attic"}, "'attic' is not configured"),
        (["item-1"], {"n": 0}, "n"),
        (["item-1"], {"user_id": ""}, "user_id"),
        (["item-1"], {"session": [{"type": "click"}] * 51}, "session"),
        (["item-1"], {"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_meant_is_refused(api, items, more, names):
    reply = post(api, items, **more)
    assert reply.status_code == 422
    assert names in reply.json()["detail"]


def test_a_score_that_is_no_number_is_refused(api):
    import msgspec

    body = msgspec.msgpack.encode({"items": [{"item_id": "item-1", "score": float("nan")}]})
    reply = api.client.post("/v1/rank", content=body, headers={"content-type": "application/msgpack"})
    assert reply.status_code == 422
    assert "not a finite number" in reply.json()["detail"]


def test_a_list_that_was_ranked_is_not_served_for_another(api):
    listed = api.client.get("/v1/recommend/anna?n=2&surface=search").json()
    said = post(api, ["item-20", "item-21"], user_id="anna").json()
    assert sorted(ids(said)) == ["item-20", "item-21"]
    assert api.client.get("/v1/recommend/anna?n=2&surface=search").json()["items"] == listed["items"]
