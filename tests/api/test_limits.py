import json

import pytest

from api.calls import BATCH, SINGLE

CLICK = {"type": "click", "user_id": "u"}
JSON = {"content-type": "application/json"}


def chunks(size, count=1 << 20):
    """A body that does not say how long it is; counts what was taken of it."""
    taken = []

    def run():
        for _ in range(count):
            taken.append(size)
            yield b" " * size

    return run(), taken


def test_one_event_has_64_kib_and_a_batch_1_mib(api):
    padded = json.dumps(CLICK).encode() + b" " * SINGLE
    assert api.client.post("/v1/events", content=padded, headers=JSON).status_code == 413
    batch = json.dumps([CLICK]).encode()
    assert api.client.post("/v1/events", content=batch + b" " * SINGLE, headers=JSON).status_code == 202
    reply = api.client.post("/v1/events", content=batch + b" " * BATCH, headers=JSON)
    assert (reply.status_code, reply.headers["connection"]) == (413, "close")
    assert api.client.put("/v1/items/i", content=b"{}" + b" " * SINGLE, headers=JSON).status_code == 413


@pytest.mark.parametrize("path", ["/v1/events", "/v1/items", "/v1/recommend"])
def test_a_chunked_body_is_cut_off(api, path):
    body, _ = chunks(1 << 16, 64)
    assert api.client.post(path, content=body, headers=JSON).status_code == 413


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}"), ('[{"context":{"a":', "}}]")])
def test_a_deep_body_is_refused(api, open_, close):
    depth = 30_000 // len(open_)
    body = (open_ * depth + "1" + close * depth).encode()
    for path in ("/v1/events", "/v1/items", "/v1/recommend"):
        assert api.client.post(path, content=body, headers=JSON).status_code in (400, 422)
    packed = b"\x91" * 60_000 + b"\x01"
    reply = api.client.post("/v1/events", content=packed, headers={"content-type": "application/msgpack"})
    assert reply.status_code in (400, 422)


def test_too_many_at_once_are_turned_away(api, value_of):
    services = api.app.state.services
    services.ingesting._inside = services.ingesting._most
    services.recommending._inside = services.recommending._most
    for reply in (
        api.client.post("/v1/events", json=CLICK),
        api.client.put("/v1/items/i", json={}),
        api.client.get("/v1/recommend/u"),
        api.client.get("/v1/popular"),
    ):
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert reply.json()["type"] == "urn:refold:problem:overload"
    services.recommending._inside = services.ingesting._inside = 0
    assert api.client.post("/v1/events", json=CLICK).status_code == 202
    assert value_of(api, 'refold_shed_total{gate="ingest"}') == 2.0


def test_a_cached_list_is_served_under_overload(api):
    api.client.get("/v1/recommend/anna")
    services = api.app.state.services
    services.recommending._inside = services.recommending._most
    assert api.client.get("/v1/recommend/anna").json()["rung"] == "cached"


def test_room_is_given_back_after_a_fault(api):
    services = api.app.state.services
    api.producer.down = True
    for _ in range(3):
        api.client.post("/v1/events", json=CLICK)
        api.client.post("/v1/events", content=b"{", headers=JSON)
    assert services.ingesting._inside == 0
