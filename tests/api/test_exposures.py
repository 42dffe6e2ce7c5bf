"""What was shown under experiments becomes an event of its user, behind the slate, and never in a request's way."""

import time

import pytest

from api.services import wall_clock
from models.assignment import Assigner
from streams import events
from streams.experiments import Arm, Decision, Definition, Known, Record
from streams.exposures import Exposure
from streams.partition import partition_of
from streams.slates import decode

TRIED = Definition(
    key="seen",
    version=3,
    arms={"old": Arm(), "new": Arm(set={"seen": "keep"})},
    control="old",
    covariate=False,
)


@pytest.fixture
def trying(api):
    """An open API on which an experiment runs."""
    record = Record(key="seen", state="running", versions=(TRIED,), decided=(Decision("running", 0),))
    services = api.app.state.services
    services.experiments.assigner = Assigner(Known({"seen": record}), services.engine.config, api.now)
    return api


def logged(api, count, slates):
    """Wait for slates and for exposures: (partition, key, event)."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        found = [
            (number, key, event)
            for (topic, number), records in api.slates.log.items()
            if topic == "events"
            for key, value in records
            for event in events.decode(value, wall_clock())
        ]
        if len(api.slates.records("slates")) >= slates and len(found) >= count:
            break
        time.sleep(0.01)
    assert len(api.slates.records("slates")) == slates
    return found


def test_every_list_of_a_user_is_an_exposure_in_their_partition(trying):
    first = trying.client.get("/v1/recommend/anna?n=7").json()
    again = trying.client.get("/v1/recommend/anna?n=7").json()
    found = logged(trying, 2, slates=2)
    assert len(found) == 2
    for answer, (number, key, event) in zip((first, again), found, strict=True):
        assert (number, key) == (partition_of("anna", 4), b"anna")
        assert event == events.Event(
            event_id=f"exposure-{answer['request_id']}", type="exposure", at=trying.now, user_id="anna",
            request_id=answer["request_id"], surface="home", value=7.0,
            exposures=(Exposure("seen", 3, answer["arms"]["seen"], ("lists",)),),
        )  # fmt: skip
    assert {decode(value).request_id for _, value in trying.slates.records("slates")} == {
        first["request_id"],
        again["request_id"],
    }


def test_a_session_is_exposed_under_its_own_key_and_someone_nameless_not_at_all(trying):
    click = {"type": "click", "item_id": "item-1"}
    for path, more in (
        ("/v1/recommend", {}),
        ("/v1/rank", {"items": [{"item_id": "item-3"}, {"item_id": "item-4"}]}),
    ):
        for named in ({"session_id": "s1"}, {}):
            reply = trying.client.post(path, json={"session": [{**click, **named}], **more})
            assert reply.status_code == 200
    surfaces = logged(trying, 1, slates=4)
    assert surfaces
    for number, key, event in surfaces:
        assert (number, key) == (partition_of("session:s1", 4), b"session:s1")
        assert (event.user_id, event.session_id) == (None, "s1")


def test_lists_under_no_experiment_are_no_exposures(api):
    api.client.get("/v1/recommend/anna")
    assert logged(api, 0, slates=1) == []


def test_exposures_are_counted_dropped_or_logged(trying, value_of):
    trying.client.get("/v1/recommend/anna")
    assert len(logged(trying, 1, slates=1)) == 1
    until = time.monotonic() + 5
    while value_of(trying, 'refold_exposures_total{fate="logged"}') < 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert value_of(trying, 'refold_exposures_total{fate="logged"}') == 1.0
    assert value_of(trying, 'refold_exposures_total{fate="dropped"}') == 0.0
