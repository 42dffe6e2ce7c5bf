"""Answers as of a moment of the past: for operators alone, and honest while its state is prepared."""

import time

import pytest

from api.engine import Engine
from api.fake import Fake
from api.keys import mint
from api.travel import OfItem, OfUser, Past, Preparing, answered
from models.surfaces import load
from streams.errors import Unavailable
from streams.events import Event
from streams.items import Item
from streams.slates import decode

NOW = 1_750_000_000_000
THEN = NOW - 3_600_000
ITEMS = {f"item-{n}": Item(title=f"Title {n}", categories=(f"kind-{n % 3}",)) for n in range(40)}
KEYS = {scope: mint(scope, scope) for scope in ("read", "write", "admin")}
ENTRIES = ",".join(entry for _, entry in KEYS.values())
PATHS = ("/v1/users/anna", "/v1/items/item-1", "/v1/recommend/anna")


def click(n, at, user="anna"):
    return Event(
        event_id=f"{user}-{n}", type="click", at=at, user_id=user, item_id=f"item-{n}",
        categories=(f"kind-{n % 3}",),
    )  # fmt: skip


class Prepared:
    """Travel to one moment, whose state is at hand; `trouble` is raised instead of an answer."""

    def __init__(self, trouble=None):
        fake = Fake.of([click(n, THEN - 9_000 + n) for n in range(3)], ITEMS, THEN, dimensions=16)
        self.past = Past(THEN, Engine(fake.state, load()), {"events": {0: 3}, "touches": {0: 2}})
        self.asked, self.trouble, self.started = [], trouble, False

    async def start(self):
        self.started = True

    async def stop(self):
        self.started = False

    async def ask(self, at, question):
        self.asked.append((at, question))
        if self.trouble is not None:
            raise self.trouble
        return answered(self.past, question)


@pytest.fixture
def travelling(make_api):
    """An API whose anna has clicked ten items, three of them by THEN."""

    def make(trouble=None, events=(), **settings):
        travel = Prepared(trouble)
        history = [
            *(click(n, THEN - 9_000 + n) for n in range(3)),
            *(click(n, NOW - 99 + n) for n in range(3, 10)),
        ]
        api = make_api(events=[*history, *events], items=ITEMS, travel=travel, **settings)
        assert travel.started
        return api, travel

    return make


def test_a_user_stands_as_they_stood(travelling):
    api, travel = travelling()
    for as_of in (str(THEN), "2025-06-15T14:06:40Z"):
        said = api.client.get("/v1/users/anna", params={"as_of": as_of}).json()
        assert said["totals"] == {"click": 3}
        assert (said["as_of"], said["at"]) == (THEN, THEN)
        assert said["positions"] == {"events": {"0": 3}, "touches": {"0": 2}}
        assert said["counts"]["click"] == pytest.approx(3, rel=1e-3)  # nothing has faded by then
    now = api.client.get("/v1/users/anna").json()
    assert now["totals"] == {"click": 10}
    assert "as_of" not in now
    assert "positions" not in now
    assert travel.asked == [(THEN, OfUser("anna"))] * 2


def test_an_item_stands_as_it_stood(travelling):
    api, travel = travelling()
    said = api.client.get(f"/v1/items/item-1?as_of={THEN}").json()
    assert (said["as_of"], said["at"], said["totals"]) == (THEN, THEN, {"click": 1})
    assert "as_of" not in api.client.get("/v1/items/item-1").json()
    assert travel.asked == [(THEN, OfItem("item-1"))]


def test_a_list_is_made_of_the_state_of_then_and_at_that_time(travelling):
    api, travel = travelling()
    path = "/v1/recommend/anna?n=40&surface=cart&category=kind-0&exclude=item-6&ctx.country=de"
    then = api.client.get(f"{path}&as_of={THEN}&explain=true").json()
    ((at, question),) = travel.asked
    assert at == question.request.at == THEN
    assert (question.request.surface, question.request.categories) == ("cart", ("kind-0",))
    assert (question.request.exclude, question.request.context) == (("item-6",), {"country": "de"})
    assert then["as_of"] == THEN
    assert then["positions"]["events"] == {"0": 3}
    assert {"item-0"} == {i["item_id"] for i in then["items"] if i["features"].get("repeats")}
    now = api.client.get(f"{path}&explain=true").json()
    assert {"item-0", "item-3", "item-9"} == {
        i["item_id"] for i in now["items"] if i["features"].get("repeats")
    }
    assert "as_of" not in now


def test_travelling_leaves_no_slate_and_no_answer_in_the_cache(travelling):
    api, _ = travelling()
    past = api.client.get(f"/v1/recommend/anna?as_of={THEN}").json()
    first, again = (api.client.get("/v1/recommend/anna").json() for _ in range(2))
    assert first["rung"] != "cached"
    assert again["rung"] == "cached"
    until = time.monotonic() + 5
    while len(api.slates.records("slates")) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    logged = {decode(value).request_id for _, value in api.slates.records("slates")}
    assert logged == {first["request_id"], again["request_id"]}
    assert past["request_id"] not in logged


@pytest.mark.parametrize("path", PATHS)
def test_only_an_admin_travels(travelling, path):
    api, travel = travelling(api_keys=ENTRIES)

    def status(scope, query=""):
        headers = {"x-api-key": KEYS[scope][0]} if scope else {}
        return api.client.get(path + query, headers=headers).status_code

    past = f"?as_of={THEN}"
    assert [status(scope) for scope in (None, "write", "read", "admin")] == [401, 403, 200, 200]
    assert [status(scope, past) for scope in (None, "write", "read", "admin")] == [401, 403, 403, 200]
    assert [status("read", query) for query in ("?as_of=tea", "?as_of=")] == [403, 200]
    assert len(travel.asked) == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "as_of",
    ["tea", "2h", "now", "-1", "12", "1e12", "2025-13-01", "x" * 41, "2100-01-01", str(NOW + 1)],
)
def test_an_impossible_time_is_refused(travelling, path, as_of):
    api, travel = travelling()
    reply = api.client.get(path, params={"as_of": as_of})
    assert (reply.status_code, reply.json()["type"]) == (422, "urn:refold:problem:refused")
    assert not travel.asked


def test_only_these_three_travel(travelling):
    api, _ = travelling()
    for path in ("/v1/similar/item-1", "/v1/popular", "/metrics", "/health/ready"):
        assert api.client.get(f"{path}?as_of={THEN}").status_code == 422


@pytest.mark.parametrize("path", PATHS)
def test_who_comes_too_early_is_told_when_to_come_again(travelling, path):
    api, _ = travelling(Preparing("folding the log as of then: 34 %", 7))
    reply = api.client.get(f"{path}?as_of={THEN}")
    said = reply.json()
    assert (reply.status_code, said["type"]) == (503, "urn:refold:problem:preparing")
    assert (reply.headers["retry-after"], said["detail"]) == ("7", "folding the log as of then: 34 %")


@pytest.mark.parametrize("path", PATHS)
def test_a_state_that_cannot_be_had_is_said_so(travelling, path):
    api, _ = travelling(Unavailable("events[0] begins at offset 9"))
    reply = api.client.get(f"{path}?as_of={THEN}")
    assert (reply.status_code, reply.json()["detail"]) == (503, "events[0] begins at offset 9")


@pytest.mark.parametrize("path", PATHS)
def test_a_process_that_cannot_travel_says_so(make_api, path):
    api = make_api(items=ITEMS)
    reply = api.client.get(f"{path}?as_of={THEN}")
    assert (reply.status_code, reply.json()["type"]) == (503, "urn:refold:problem:unavailable")


def test_nothing_was_known_yet(travelling):
    api, _ = travelling()
    for path in ("/v1/users/berta", "/v1/items/tea"):
        reply = api.client.get(f"{path}?as_of={THEN}")
        assert (reply.status_code, reply.json()["type"]) == (404, "urn:refold:problem:not-found")
        assert "2025-06-15T14:06:40Z" in reply.json()["detail"]
    assert api.client.get(f"/v1/recommend/berta?as_of={THEN}").json()["items"]  # strangers are served too
    assert api.client.get(f"/v1/recommend/anna?surface=nowhere&as_of={THEN}").status_code == 422


def test_what_was_erased_since_is_told_no_more(travelling):
    erase = Event(event_id="erase-0", type="erase", at=THEN + 1, user_id="anna")
    api, travel = travelling(events=[erase])
    for path in ("/v1/users/anna", "/v1/recommend/anna"):
        assert api.client.get(f"{path}?as_of={THEN}").status_code == 404
        assert api.client.get(f"{path}?as_of={THEN + 1}").status_code == 404
    assert not travel.asked
    assert api.client.get(f"/v1/recommend/anna?as_of={THEN + 2}").status_code == 200
