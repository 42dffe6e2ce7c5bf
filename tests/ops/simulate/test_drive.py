"""People live with an API that is played by a few lines: what it answers decides what they do, and all is said."""

import asyncio

import httpx
import numpy as np
import pytest

from ops.simulate import drive
from ops.simulate.scenarios import Stage, loop
from ops.simulate.world import appeal, build
from streams.errors import Unavailable
from tests.ops.simulate.played import Api

STEPS, LISTS = 6, 20


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(drive, "RATE", 1e9)


def live(world, api):
    async def go():
        async with httpx.AsyncClient(transport=httpx.MockTransport(api), base_url="http://api") as client:
            return (await loop(Stage(client, world, STEPS, LISTS, lambda _: None))).journal

    return asyncio.run(go())


@pytest.fixture
def world():
    return build(60, 60, STEPS, 1)


def test_an_api_that_knows_the_truth_serves_the_best_lists(world):
    journal = live(world, Api(lambda person: appeal(world, np.array([person]))[0]))

    assert np.allclose(journal.line("relevance"), journal.line("oracle"))
    assert (journal.line("relevance") > 2 * journal.line("random")).all()


def test_an_api_that_turns_the_truth_around_serves_worse_lists_than_chance(world):
    journal = live(world, Api(lambda person: -appeal(world, np.array([person]))[0]))

    assert (journal.line("relevance") < journal.line("random")).all()


def test_what_people_did_is_said_with_the_list_it_answers(world):
    api = Api(lambda _: np.arange(60.0))
    journal = live(world, api)
    kinds = [event["type"] for event in api.events]

    assert journal.said()["events"] == len(api.events)
    assert journal.said()["lists"] == api.asked
    assert kinds.count("impression") > kinds.count("click") > 0
    assert {event["request_id"] for event in api.events} == {f"r{n + 1}" for n in range(api.asked)}
    clicks = [(event["user_id"], event["item_id"]) for event in api.events if event["type"] == "click"]
    assert len(set(clicks)) == len(clicks)


def test_things_appear_when_they_are_listed(world):
    api = Api(lambda _: np.arange(60.0))
    said = live(world, api).said()

    assert len(api.items) == 60
    assert said["new_items"]["listed"] == (world.appears > 0).sum()
    assert api.items["thing-5"]["categories"] == [f"category-{world.category[5]}"]


def test_an_api_that_is_busy_is_asked_again(world):
    api = Api(lambda _: np.arange(60.0))
    api.busy = True

    assert live(world, api).said()["lists"] == api.asked


def test_an_api_that_refuses_ends_the_run(world):
    def refuses(request):
        return (
            httpx.Response(422, text="no such surface")
            if "recommend" in request.url.path
            else Api(None)(request)
        )

    with pytest.raises(Unavailable, match="422: no such surface"):
        live(build(60, 0, STEPS, 1), refuses)
