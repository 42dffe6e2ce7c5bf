import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.events import Event, decode

CLICK = {"type": "click", "user_id": "anna", "item_id": "item-4"}
MSGPACK = {"content-type": "application/msgpack"}
JSON = {"content-type": "application/json"}


def stored(api):
    return [event for _, value in api.producer.records("events") for event in decode(value, api.now)]


def test_one_event(api):
    reply = api.client.post("/v1/events", json=CLICK)
    assert reply.status_code == 202
    said = reply.json()
    (event,) = stored(api)
    assert (said["accepted"], said["refused"]) == (1, [])
    assert said["event_ids"] == [event.event_id]
    assert list(said["offsets"].values()) == [0]
    assert (event.at, event.user_id, event.item_id) == (api.now, "anna", "item-4")
    assert event.event_id[14] == "7"  # the version of the UUID: ids sort by time


def test_categories_are_the_items_unless_the_client_says_others(api):
    api.client.post(
        "/v1/events", json=[CLICK, {**CLICK, "categories": ["own"]}, {**CLICK, "item_id": "unknown"}]
    )
    assert [event.categories for event in stored(api)] == [("kind-1", "shelf-4"), ("own",), ()]


def test_messagepack_is_taken_as_it_stands_in_the_log(api):
    events = [
        Event(event_id=f"e{n}", type="view", at=api.now, user_id="u", item_id="item-1") for n in range(3)
    ]
    for body, count in ((msgspec.msgpack.encode(events), 3), (msgspec.msgpack.encode(events[0]), 1)):
        reply = api.client.post("/v1/events", content=body, headers=MSGPACK)
        assert (reply.status_code, reply.json()["accepted"]) == (202, count)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": "red"}, "unknown field `colour`"),
        ({"type": "Click!"}, "not a name"),
        ({"type": "erase"}, "reserved"),
        ({"type": "exposure"}, "reserved"),
        ({"exposures": [["e", 1, "a"]]}, "reserved"),
        ({"user_id": None}, "needs a user_id or a session_id"),
        ({"user_id": ""}, "length >= 1"),
        ({"user_id": "x" * 257}, "length <= 256"),
        ({"user_id": "ü" * 200}, "over 256 bytes"),
        ({"at": 17}, ">= 946684800000"),
        ({"at": 1_750_000_000_000 + 90_000_000}, "a day after"),
        ({"at": "yesterday"}, "Expected `int"),
        ({"value": 1e13}, "finite number below"),
        ({"value": "3"}, "Expected `float"),
        ({"position": -1}, "outside 0..9999"),
        ({"categories": ["c"] * 9}, "at most 8"),
        ({"context": {f"k{n}": "v" for n in range(17)}}, "at most 16"),
        ({"context": {"k": {"deep": 1}}}, "Expected `str`"),
        ({"v": 9}, "version 9"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_its_reason(api, value_of, change, reason):
    bad = {name: value for name, value in {**CLICK, **change}.items() if value is not None}
    reply = api.client.post("/v1/events", json=bad)
    assert reply.status_code == 422
    assert reason in reply.json()["detail"]
    mixed = api.client.post("/v1/events", json=[CLICK, bad, CLICK])
    assert mixed.status_code == 202
    assert mixed.json()["accepted"] == 2
    assert [one["index"] for one in mixed.json()["refused"]] == [1]
    assert reason in mixed.json()["refused"][0]["reason"]
    assert len(stored(api)) == 2
    counted = api.client.get("/metrics").text
    assert 'refold_refused_total{reason="' in counted
    assert 'reason="other"' not in counted
    assert value_of(api, 'refold_ingested_total{what="event"}') == 2.0


def test_numbers_that_are_none_are_refused(api):
    for text in ("NaN", "Infinity", "1e999"):
        body = f'{{"type":"rating","user_id":"u","item_id":"i","value":{text}}}'.encode()
        assert api.client.post("/v1/events", content=body, headers=JSON).status_code in (400, 422)
    for number in (float("nan"), float("inf")):
        body = msgspec.msgpack.encode({**CLICK, "value": number})
        assert api.client.post("/v1/events", content=body, headers=MSGPACK).status_code == 422
    assert not stored(api)


def test_a_batch_without_one_good_event_is_a_problem_that_names_all(api):
    reply = api.client.post("/v1/events", json=[{}, {"type": "click"}])
    assert reply.status_code == 422
    assert [one["index"] for one in reply.json()["refused"]] == [0, 1]
    assert not api.producer.log


@pytest.mark.parametrize("count", [0, 501])
def test_a_batch_has_1_to_500(api, count):
    reply = api.client.post("/v1/events", json=[CLICK] * count)
    assert (reply.status_code, f"this one {count}" in reply.json()["detail"]) == (422, True)
    assert api.client.post("/v1/events", json=[CLICK] * 500).json()["accepted"] == 500


def test_down_says_that_nothing_was_written(api):
    api.producer.down = True
    reply = api.client.post("/v1/events", json=CLICK)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert reply.json()["type"] == "urn:refold:problem:unavailable"
    assert "nothing was written" in reply.json()["detail"]
    assert api.client.get("/v1/recommend/anna").status_code == 200


def test_in_doubt_hands_out_the_ids_that_make_a_retry_safe(api):
    api.producer.silent = True
    reply = api.client.post("/v1/events", json=[CLICK, {}, CLICK])
    problem = reply.json()
    assert (reply.status_code, problem["type"]) == (503, "urn:refold:problem:in-doubt")
    assert len(problem["event_ids"]) == 2
    assert [one["index"] for one in problem["refused"]] == [1]
    api.producer.silent = False
    again = [{**CLICK, "event_id": known} for known in problem["event_ids"]]
    assert api.client.post("/v1/events", json=again).json()["event_ids"] == problem["event_ids"]


_texts = st.text(max_size=300) | st.sampled_from(["click", "anna", "item-1", "\x00", "\ud800"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)
_fields = st.sampled_from(
    ["event_id", "type", "at", "user_id", "session_id", "item_id", "value", "context", "v", "x"]
)
_almost = st.dictionaries(_fields, _values, max_size=5).map(lambda more: {**CLICK, **more})
_json = (_values | st.lists(_almost, max_size=3)).map(lambda value: json.dumps(value).encode())


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=st.binary(max_size=200) | _json, packed=st.booleans())
def test_no_body_is_a_fault(api, body, packed):
    for path in ("/v1/events", "/v1/items", "/v1/recommend"):
        reply = api.client.post(path, content=body, headers=MSGPACK if packed else JSON)
        assert reply.status_code in (200, 202, 400, 422), reply.text
    for path in ("/v1/items/i", "/v1/users/u"):
        reply = api.client.put(path, content=body, headers=MSGPACK if packed else JSON)
        assert reply.status_code in (202, 400, 422), reply.text
    for _, value in api.producer.records("events"):
        decode(value, api.now)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=_values)
def test_no_messagepack_is_a_fault(api, value):
    try:
        body = msgspec.msgpack.encode([value, {**CLICK, "value": value}])
    except (UnicodeEncodeError, OverflowError):
        return
    assert api.client.post("/v1/events", content=body, headers=MSGPACK).status_code in (202, 422)
