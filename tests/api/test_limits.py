import asyncio
import contextlib
import json
import socket
import threading
import time

import pytest
import uvicorn

from api.admission import ARRIVED, Admission
from api.calls import BATCH, SINGLE
from api.metrics import Metrics
from api.problems import Problem
from api.server import config
from streams.settings import Settings

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


def test_one_pause_turns_nobody_away_but_a_standing_queue_does(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("api.admission.perf_counter", lambda: clock[0])
    gate = Admission("test", 10, Metrics())

    def let_in(waited):
        try:
            with gate.enter({ARRIVED: clock[0] - waited}):
                return True
        except Problem:
            return False

    assert let_in(0.3)
    clock[0] += 1
    assert all(let_in(0.2) for _ in range(20))
    for _ in range(8):
        clock[0] += 0.1
        last = let_in(0.2)
    assert not last
    assert let_in(0.01)
    assert let_in(0.2)


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


@pytest.fixture
def port(api):
    """The same API behind the real server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config(Settings(), api.app))
        server.config.lifespan = "off"
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def talk(port, *parts, pause=0.0, seconds=5.0):
    """Send parts and return all that comes back until the server closes, or an answer is complete."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        said = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(1 << 16):
                said += part
        return said


def test_the_real_server_answers(port):
    request = b"GET /v1/popular?n=1 HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    for parts in ((request,), (request[:30], request[30:])):
        head, _, body = talk(port, *parts, pause=0.05).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"server:" not in head.lower()
        assert len(json.loads(body)["items"]) == 1


def test_pipelined_requests_are_answered_in_order(port):
    one = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    last = b"GET /v1/popular?n=1 HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    said = talk(port, one * 5 + last)
    assert said.count(b"HTTP/1.1 200") == 6
    assert said.rindex(b'"live"') < said.index(b'"request_id"')


def test_headers_without_end_are_cut_off(port):
    start = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    assert talk(port, start, *[b"x-%d: " % n + b"y" * 1000 + b"\r\n" for n in range(64)]).startswith(
        b"HTTP/1.1 431"
    )
    assert talk(port, b"GET /" + b"x" * 40_000).startswith(b"HTTP/1.1 431")


def test_headers_that_dawdle_lose_their_connection(port, monkeypatch):
    monkeypatch.setattr("api.protocol.HEADER_SECONDS", 0.3)
    began = time.monotonic()
    assert talk(port) == b""
    assert talk(port, b"GET / HTTP/1.1\r\n", b"x: y\r\n", pause=0.1) == b""
    live = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    assert talk(port, live, b"GET / HT", pause=0.1).count(b"HTTP/1.1") == 1
    assert time.monotonic() - began < 4


def test_a_body_that_dawdles_is_given_up(port, monkeypatch):
    monkeypatch.setattr("api.calls.BODY_SECONDS", 0.3)
    head = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    assert talk(port, head + b"content-length: 50\r\nconnection: close\r\n\r\n{").startswith(b"HTTP/1.1 408")


def test_a_chunked_body_without_end_is_cut_off_by_the_real_server(port):
    head = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    said = talk(port, head + b"transfer-encoding: chunked\r\n\r\n", *[chunk] * 64)
    assert said.startswith(b"HTTP/1.1 413") or said == b""  # reset before it was read
