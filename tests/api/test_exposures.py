"""What was shown under experiments becomes an event of its user before the user acts on it, and in no request's way."""

import asyncio
import time

import pytest

from api.exposures import ExposureLog
from api.ingest import Ingest
from api.memory import MemoryProducer
from api.metrics import Metrics
from api.services import wall_clock
from models.assignment import Assigner
from streams import events
from streams.experiments import Arm, Decision, Definition, Known, Record
from streams.exposures import Exposure
from streams.partition import partition_of
from streams.settings import Settings
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


def written(api):
    """Return what stands in `events`: (partition, key, event)."""
    return [
        (number, key, event)
        for (topic, number), records in api.producer.log.items()
        if topic == "events"
        for key, value in records
        for event in events.decode(value, wall_clock())
    ]


def logged(api, count, slates):
    """Wait for slates and for exposures: (partition, key, event)."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        found = written(api)
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


def test_a_click_stands_behind_the_exposure_of_its_list(trying):
    for n in range(20):
        answer = trying.client.get(f"/v1/recommend/user-{n}").json()
        click = {"type": "click", "user_id": f"user-{n}", "item_id": answer["items"][0]["item_id"]}
        assert trying.client.post("/v1/events", json=click).status_code == 202
    for user in {event.user for _, _, event in written(trying)}:
        assert [event.type for _, _, event in written(trying) if event.user == user] == ["exposure", "click"]
    assert len(written(trying)) == 40


def test_only_what_other_lists_decide_comes_with_the_slate(trying):
    arms = {"old": Arm(), "new": Arm(set={"pins": {"item-39": 1}})}
    pinned = Definition(
        key="pinned", version=1, arms=arms, control="old", counterfactual=True, covariate=False
    )
    services = trying.app.state.services
    records = {
        one.key: Record(key=one.key, state="running", versions=(one,), decided=(Decision("running", 0),))
        for one in (TRIED, pinned)
    }
    services.experiments.assigner = Assigner(Known(records), services.engine.config, trying.now)
    for path in ("/v1/recommend/anna", "/v1/recommend/anna"):
        trying.client.get(path)
    found = [event for _, _, event in logged(trying, 4, slates=2)]
    assert len({event.event_id for event in found}) == len(found)
    by = {}
    for event in found:
        by.setdefault(event.request_id, []).append([one.experiment for one in event.exposures])
    first, again = by.values()
    assert first == [["seen"], ["pinned"]]
    assert sorted(key for said in again for key in said) == ["pinned", "seen"]


def test_exposures_of_one_turn_are_one_record_for_each_partition_and_never_too_many():
    producer, metrics = MemoryProducer(), Metrics()
    log = ExposureLog(producer, Settings(partitions=2), metrics)

    def event(n):
        return events.Event(event_id=f"e{n}", type="exposure", at=1, user_id=f"u{n}")

    async def life():
        for n in range(8):
            log.put(event(n))
        await log.flush()
        producer.silent = True
        producer.delay = 60.0
        for n in range(3):
            log.put(event(n))
        await asyncio.sleep(0.01)
        producer.down = True
        log.put(event(9))
        await asyncio.sleep(0.01)

    asyncio.run(life())
    assert [len(records) for records in producer.log.values()] == [1, 1]
    assert metrics.exposures_logged._value.get() == 8
    assert metrics.exposures_dropped._value.get() == 1


def test_what_is_begun_after_an_exposure_is_written_after_it():
    producer = MemoryProducer()
    settings = Settings(partitions=1)
    log, now = ExposureLog(producer, settings, Metrics()), wall_clock()

    async def life():
        log.put(events.Event(event_id="shown", type="exposure", at=now, user_id="anna"))
        click = events.Event(event_id="click", type="click", at=now, user_id="anna", item_id="i")
        await asyncio.create_task(Ingest(producer, settings).events([click]))
        await log.flush()

    asyncio.run(life())
    records = producer.records("events")
    assert [event.event_id for _, value in records for event in events.decode(value, wall_clock())] == [
        "shown",
        "click",
    ]


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
