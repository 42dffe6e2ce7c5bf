import time

import pytest

from models.assignment import Assigner
from streams.experiments import Arm, Decision, Definition, Known, Record
from streams.slates import Asked, decode


def slates(api, count):
    until = time.monotonic() + 5
    while len(api.slates.records("slates")) < count and time.monotonic() < until:
        time.sleep(0.01)
    return [(key, decode(value)) for key, value in api.slates.records("slates")]


def test_a_list_for_a_user(api):
    reply = api.client.get("/v1/recommend/anna?n=5")
    said = reply.json()
    assert reply.status_code == 200
    assert (said["user_id"], said["surface"], len(said["items"])) == ("anna", "home", 5)
    assert said["rung"]
    assert {"item_id", "score", "source"} <= set(said["items"][0])
    assert said["state"]["lag"] == 0


def test_the_second_answer_comes_from_the_cache_until_the_user_acts(api):
    from streams.events import Event

    first, again = (api.client.get("/v1/recommend/anna?n=5").json() for _ in range(2))
    assert again["rung"] == "cached"
    assert again["request_id"] != first["request_id"]
    assert again["items"] == first["items"]
    api.fake.fold([Event(event_id="new", type="click", at=api.now, user_id="anna", item_id="item-9")])
    assert api.client.get("/v1/recommend/anna?n=5").json()["rung"] != "cached"


def test_every_answer_leaves_a_slate(api):
    ids = [api.client.get("/v1/recommend/anna?n=3").json()["request_id"] for _ in range(3)]
    ids.append(api.client.get("/v1/popular?n=3").json()["request_id"])
    found = slates(api, 4)
    assert sorted(slate.request_id for _, slate in found) == sorted(ids)
    by_id = {slate.request_id: (key, slate) for key, slate in found}
    key, full = by_id[ids[0]]
    assert (key, len(full.items), full.at) == (b"anna", 3, api.now)
    assert by_id[ids[1]][1].same_as == ids[0]
    assert by_id[ids[3]][0] is None


def test_a_slate_says_what_was_asked(api):
    for path in (
        "/v1/recommend/anna?n=3&category=kind-0&exclude=item-6&ctx.country=de",
        "/v1/recommend/anna?n=3&category=kind-0&exclude=item-6&ctx.country=de",
        "/v1/similar/item-1?n=2&exclude=item-2",
        "/v1/popular?n=4&category=kind-1",
    ):
        assert api.client.get(path).status_code == 200
    api.client.post("/v1/recommend", json={"n": 5, "session": [{"type": "click", "item_id": "item-1"}]})
    found = sorted((slate for _, slate in slates(api, 5)), key=lambda slate: slate.request_id)
    assert found[0].asked == Asked(
        n=3, categories=("kind-0",), exclude=("item-6",), context={"country": "de"}
    )
    assert found[1].asked is None  # the one that it repeats says it
    assert found[1].same_as == found[0].request_id
    assert found[2].asked == Asked(operation="similar", n=2, exclude=("item-2",), beside="item-1")
    assert found[3].asked == Asked(operation="popular", n=4, categories=("kind-1",))
    assert found[4].asked == Asked(operation="recommendAnonymous", n=5)


def test_parameters_reach_the_engine(api):
    said = api.client.get(
        "/v1/recommend/anna?n=40&category=kind-0&exclude=item-3&exclude=item-6&explain=true"
    ).json()
    items = [item["item_id"] for item in said["items"]]
    assert items
    assert all(int(item.removeprefix("item-")) % 3 == 0 for item in items)
    assert not {"item-3", "item-6"} & set(items)
    assert said["stages"]
    context = api.client.get("/v1/recommend/anna?ctx.country=de&ctx.device=phone&surface=cart")
    assert (context.status_code, context.json()["surface"]) == (200, "cart")


@pytest.mark.parametrize(
    "query",
    ["n=0", "n=201", "n=x", "n=1&n=2", "colour=red", "surface=Nowhere!", "surface=nowhere", "explain=maybe",
     "ctx.=x", "ctx.A=x", "ctx.a=1&ctx.a=2", "ctx=x", "category=", "n=1&user=%FF", "exclude=" + "x" * 257,
     "arm.seen=new", "arm=seen", "arm.=x",
     "x" * 9000,     "&".join(f"exclude={n}" for n in range(201))],
)  # fmt: skip
def test_an_impossible_query_is_refused(api, query):
    for path in ("/v1/recommend/anna", "/v1/similar/item-1", "/v1/popular"):
        reply = api.client.get(f"{path}?{query}")
        assert reply.status_code == 422, (path, reply.text)
        assert reply.headers["content-type"] == "application/problem+json"


def test_a_test_may_ask_for_an_arm(api):
    tried = Definition(key="seen", arms={"old": Arm(), "new": Arm(set={"seen": "keep"})}, control="old")
    record = Record(key="seen", state="running", versions=(tried,), decided=(Decision("running", 0),))
    services = api.app.state.services
    services.experiments.assigner = Assigner(Known({"seen": record}), services.engine.config, api.now)
    for arm in ("old", "new"):
        said = api.client.get(f"/v1/recommend/anna?arm.seen={arm}").json()
        assert (said["arms"], said["forced"]) == ({"seen": arm}, ["seen"])
    assert "no arm 'third'" in api.client.get("/v1/recommend/anna?arm.seen=third").json()["detail"]


def test_other_routes_take_no_query(api):
    assert api.client.get("/v1/users/anna").status_code == 200
    assert api.client.get("/v1/users/anna?n=1").status_code == 422
    assert api.client.post("/v1/events?x=1", json={"type": "click", "user_id": "u"}).status_code == 422


def test_a_list_for_someone_anonymous(api):
    session = [{"type": "click", "item_id": "item-1"}, {"type": "view", "item_id": "item-2"}]
    body = {
        "session": session,
        "n": 4,
        "categories": ["kind-0"],
        "exclude": ["item-0"],
        "context": {"device": "tv"},
    }
    reply = api.client.post("/v1/recommend", json=body)
    said = reply.json()
    assert reply.status_code == 200
    assert said["user_id"] == ""
    assert 0 < len(said["items"]) <= 4
    assert api.client.post("/v1/recommend", json={}).status_code == 200
    for bad in ({"n": 0}, {"session": session * 26}, {"session": [{}]}, {"who": 1}, {"surface": "nowhere"}):
        assert api.client.post("/v1/recommend", json=bad).status_code == 422
    assert not api.producer.log


def test_similar_and_popular(api):
    similar = api.client.get("/v1/similar/item-1?n=3").json()
    assert "item-1" not in [item["item_id"] for item in similar["items"]]
    assert api.client.get("/v1/similar/unknown").json()["rung"] == "empty"
    popular = api.client.get("/v1/popular?n=3&category=kind-1").json()
    assert {int(item["item_id"].removeprefix("item-")) % 3 for item in popular["items"]} == {1}


def test_an_empty_system_answers_an_empty_list_with_a_reason(make_api):
    api = make_api(items={})
    for path in ("/v1/recommend/u", "/v1/popular", "/v1/similar/i"):
        said = api.client.get(path).json()
        assert said["items"] == []
        assert said["reason"]


def test_rungs_and_stages_are_counted(api, value_of):
    for _ in range(3):
        api.client.get("/v1/recommend/anna")
    assert value_of(api, 'refold_answers_total{rung="cached",surface="home"}') == 2.0
    assert "refold_stage_seconds_bucket" in api.client.get("/metrics").text
    assert value_of(api, 'refold_request_seconds_count{route="GET /v1/recommend/{user_id}"}') == 3.0


def test_slates_are_dropped_and_counted_while_kafka_is_away(make_api, value_of, monkeypatch):
    monkeypatch.setattr("api.slates.QUEUE", 2)
    api = make_api()
    api.slates.down = True
    for _ in range(5):
        assert api.client.get("/v1/recommend/anna").status_code == 200
    assert value_of(api, 'refold_slates_total{fate="dropped"}') == 3.0
    api.slates.down = False
    assert len(slates(api, 2)) == 2
