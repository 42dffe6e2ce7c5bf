"""Experiments over HTTP and as a process follows them: what is said counts at once, and of two edits the first."""

import asyncio

import pytest

from api.experiments import Follower
from api.keys import mint
from api.memory import MemoryProducer
from api.metrics import Metrics
from api.problems import Problem
from api.producer import InDoubt
from models.definitions import defined, ramped, started
from models.surfaces import load
from models.units import Unit
from streams import experiments
from streams.control import hear
from streams.experiments import Arm, Decision, Definition, Holdout, Record, Step
from streams.settings import Settings

CONFIG = load()
SAID = {
    "key": "varied",
    "arms": {"control": {}, "varied": {"set": {"diversity": 0.4, "ttl_s": 60.0}}},
    "control": "control",
    "surfaces": ["home"],
    "metrics": {"ctr": {"of": "click", "per": "lists", "primary": True}},
}
PATH = "/v1/experiments/varied"


def arms(api, user="u1", **more):
    return api.client.get(f"/v1/recommend/{user}", params=more).json().get("arms", {})


def test_an_experiment_lives(api):
    made = api.client.put(PATH, json=SAID)
    assert made.status_code == 200, made.text
    assert made.json()["state"] == "draft"
    assert made.json()["versions"][0]["version"] == 1
    assert not arms(api)
    for verb, state in (("start", "running"), ("stop", "stopped"), ("start", "running"), ("kill", "killed")):
        done = api.client.post(f"{PATH}/{verb}")
        assert (done.status_code, done.json()["state"]) == (200, state)
        assert bool(arms(api)) == (state == "running")
    assert [one["by"] for one in done.json()["decided"]] == ["open"] * 5
    assert api.client.get(PATH).json() == done.json()
    listed = api.client.get("/v1/experiments").json()
    assert [one["key"] for one in listed["experiments"]] == ["varied"]
    assert listed["holdout"]["share"] == 0.0
    assert api.client.post(f"{PATH}/start").status_code == 422
    again = api.client.put(PATH, json=SAID, params={"revision": done.json()["revision"]}).json()
    assert [one["version"] for one in again["versions"]] == [1, 2]


def test_a_cached_list_of_a_killed_arm_is_not_served_again(api):
    api.client.put(PATH, json=SAID)
    api.client.post(f"{PATH}/start")
    users = {user: arms(api, user)["varied"] for user in (f"u{n}" for n in range(20))}
    varied = next(user for user, arm in users.items() if arm == "varied")
    assert api.client.get(f"/v1/recommend/{varied}").json()["rung"] == "cached"
    api.client.post(f"{PATH}/kill", params={"reason": "looks odd"})
    after = api.client.get(f"/v1/recommend/{varied}").json()
    assert after["rung"] != "cached"
    assert "arms" not in after
    assert api.client.get(PATH).json()["decided"][-1]["reason"] == "looks odd"


def test_a_ramp(api):
    api.client.put(PATH, json=SAID)
    api.client.post(f"{PATH}/start")
    later = {"share": 0.0, "steps": [{"at": api.now + 1000, "share": 1.0}]}
    assert api.client.post(f"{PATH}/ramp", json=later).json()["versions"][-1]["ramp"] == [
        {"at": api.now, "share": 0.0},
        {"at": api.now + 1000, "share": 1.0},
    ]
    assert not arms(api)
    early = api.client.post(f"{PATH}/ramp", json={"steps": [{"at": 5, "share": 1.0}]})
    assert (early.status_code, "5 is over" in early.json()["detail"]) == (422, True)


def test_the_holdout(api):
    api.client.put(PATH, json=SAID)
    api.client.post(f"{PATH}/start")
    done = api.client.put("/v1/holdout", json={"share": 1.0})
    assert (done.status_code, done.json()["revision"]) == (200, 1)
    assert not arms(api)
    assert api.client.put("/v1/holdout?revision=0", json={"share": 0.5}).status_code == 409
    assert api.client.put("/v1/holdout?revision=1", json={"share": 0.0}).json()["share"] == 0.0
    assert arms(api)


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ({"key": "other"}, 422, "the definition is of 'other', the path of 'varied'"),
        ({"metrics": {"ctr": {"per": "lists"}}}, 422, "missing required field `of`"),
        ({"arms": {"control": {}, "b": {"set": {"colour": 1}}}}, 422, "unknown field `colour`"),
        (
            {"arms": {"control": {}, "b": {"set": {"model": "best"}}}},
            422,
            "'best' is not a model that can serve",
        ),
        ({"arms": {"control": {"weight": -1}, "b": {}}}, 422, "arms[...].weight"),
        ({"colour": 1}, 422, "unknown field `colour`"),
        ({"slice": [0, 2]}, 422, "slice"),
    ],
)
def test_what_cannot_be_run_is_refused(api, said, status, reason):
    refused = api.client.put(PATH, json=SAID | said)
    assert refused.status_code == status
    assert reason in refused.json()["detail"]
    assert api.client.get(PATH).status_code == 404


def test_an_edit_of_what_was_not_seen_is_refused(api):
    revision = api.client.put(PATH, json=SAID).json()["revision"]
    for seen in (None, revision + 1, 0):
        params = {} if seen is None else {"revision": seen}
        refused = api.client.put(PATH, json=SAID, params=params)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:refold:problem:conflict")
        assert f"{revision}" in refused.json()["detail"]
    assert api.client.post(f"{PATH}/start", params={"revision": revision + 1}).status_code == 409
    assert api.client.put(PATH, json=SAID, params={"revision": revision}).status_code == 200
    assert api.client.post("/v1/experiments/other/start").status_code == 404


def test_an_administrator_looks_at_an_arm(make_api):
    reader, entry = mint("shop", "read+write")
    boss, other = mint("boss", "admin")
    api = make_api(api_keys=f"{entry},{other}")
    admin = {"x-api-key": boss}
    api.client.put(PATH, json=SAID, headers=admin)
    api.client.post(f"{PATH}/start", headers=admin)

    def look(key=boss, **arms):
        params = {f"arm.{name}": arm for name, arm in arms.items()}
        return api.client.get("/v1/recommend/u1", params=params, headers={"x-api-key": key})

    for arm in ("control", "varied"):
        shown = look(varied=arm).json()
        assert (shown["arms"], shown["forced"]) == ({"varied": arm}, ["varied"])
    assert "forced" not in api.client.get("/v1/recommend/u1", headers=admin).json()
    assert look(key=reader, varied="control").status_code == 403
    for wrong, reason in (
        ({"varied": "b"}, "has no arm 'b'"),
        ({"other": "b"}, "no experiment that runs or is a draft"),
    ):
        refused = look(**wrong)
        assert refused.status_code == 422
        assert reason in refused.json()["detail"]


def test_only_an_administrator_sees_and_changes(make_api):
    reader, entry = mint("shop", "read+write")
    boss, other = mint("boss", "admin")
    api = make_api(api_keys=f"{entry},{other}")
    for key, status in ((reader, 403), (boss, 200)):
        headers = {"x-api-key": key}
        assert api.client.get("/v1/experiments", headers=headers).status_code == status
        assert api.client.put(PATH, json=SAID, headers=headers).status_code == status
        assert api.client.post(f"{PATH}/kill", headers=headers).status_code == status
    decided = api.client.get(PATH, headers={"x-api-key": boss}).json()["decided"]
    assert {one["by"] for one in decided} == {"boss"}


# As a process follows them


class Clock:
    now = 1000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    def made(producer=None):
        return Follower(Settings(), CONFIG, producer or MemoryProducer(), Metrics(), clock)

    return made


def definition(key="e", **more):
    arms = {"a": Arm(), "b": Arm(set={"diversity": 0.5})}
    return Definition(**({"key": key, "arms": arms, "control": "a"} | more))


def record(key="e", state="running", at=1, **more):
    return Record(key=key, state=state, versions=(definition(key, **more),), decided=(Decision(state, at),))


def words(*said):
    return {one.key: experiments.encode(one) for one in said}


def keys(follower):
    return set(follower.assigner.assign(Unit("u")).arms)


def test_a_decision_of_a_clock_that_is_ahead_counts(make):
    follower = make()
    follower.take(words(record(at=5_000)))
    assert keys(follower) == {"e"}


def test_a_ramp_goes_on_by_itself(make, clock):
    follower = make()
    said = words(record(ramp=(Step(2_000, 1.0),)))
    follower._settle(said)
    first = follower.assigner
    assert not keys(follower)
    follower._settle(said)
    assert follower.assigner is first
    clock.now = 2_000
    follower._settle(said)
    assert keys(follower) == {"e"}


def test_what_cannot_be_read_or_run_stops_itself_alone(make, caplog):
    follower = make()
    said = words(record(), record("f", surfaces=("gone",)), Holdout(revision=1, share=0.0)) | {"g": b"\xc1"}
    follower.take(said)
    assert keys(follower) == {"e"}
    assert {"f", "g"} == set(follower._told)
    assert "surface 'gone' is not configured" in caplog.text
    follower.take(said)
    assert caplog.text.count("surface 'gone'") == 1
    exposed = follower._metrics.expose().decode()
    assert 'refold_experiment{key="e",state="running"} 1.0' in exposed
    assert 'refold_experiment{key="f",state="refused"} 1.0' in exposed


def test_of_two_who_edit_at_once_one_is_refused_and_an_end_gets_through(make):
    async def follow(follower, log):
        while True:
            said = {}
            for key, value in log.records("experiments"):
                hear(said, key.decode(), value, follower._stands)
            follower._settle(said)
            await asyncio.sleep(0.001)

    async def play():
        log = MemoryProducer()
        one, other = both = [make(log), make(log)]
        for follower in both:
            follower._task = asyncio.create_task(follow(follower, log))
        await one.write(defined(one.known, definition(), CONFIG, (), 1, "me"))
        await asyncio.sleep(0.01)
        words = [
            started(one.known, "e", CONFIG, (), 5, "me"),
            ramped(other.known, "e", (Step(6, 0.5),), 6, "they"),
        ]
        done = await asyncio.gather(*map(Follower.write, both, words), return_exceptions=True)
        assert [type(each) for each in done] == [type(None), Problem]
        assert (done[1].status, done[1].detail.split(";")[0]) == (
            409,
            "'e' was changed by somebody else just now",
        )
        said = [value for _, value in log.records("experiments")]
        assert said[1:] == [
            experiments.encode(word) for word in (*words, words[0])
        ]  # what counts is the last

        word = ramped(other.known, "e", (Step(7, 0.6),), 7, "they")
        await asyncio.gather(
            other.write(word), one.end("e", "killed", "", "me"), other.end("e", "killed", "", "he")
        )
        await asyncio.sleep(0.01)
        for follower in both:
            assert follower.known.records["e"].state == "killed"
            assert experiments.decode({"e": log.records("experiments")[-1][1]}) == follower.known
            await follower.stop()

    asyncio.run(play())


def test_a_word_that_is_not_heard_is_in_doubt(make, monkeypatch):
    monkeypatch.setattr("api.experiments.WRITE_SECONDS", 0.01)

    async def play():
        follower = make()
        follower._task = asyncio.create_task(asyncio.sleep(60))
        with pytest.raises(InDoubt, match="'e' was written, but not heard yet"):
            await follower.write(record())
        await follower.stop()

    asyncio.run(play())
