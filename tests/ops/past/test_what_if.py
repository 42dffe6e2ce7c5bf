"""Past requests are answered again from the state of their time, under both configurations alike."""

import dataclasses

import msgspec
import pytest

from models.surfaces import load
from ops.past.replay import replay
from ops.past.what_if import MINUTE, Window, other_config, text, what_if
from streams import events
from streams.errors import Refused, SettingsError
from streams.events import Event
from streams.experiments import Arm, Decision, Definition, Known, Record
from streams.slates import Asked
from tests.ops.past.served import Served
from tests.ops.past.world import START, World

END = START + 10**9


@pytest.fixture
def world():
    made = World(5)
    made.live(60)
    made.now = made.now // MINUTE * MINUTE + MINUTE  # nothing happens on the minute before requests come
    return made


@pytest.fixture
def on(world, tmp_path):
    settings = dataclasses.replace(world.settings, data=tmp_path / "data")
    return world.ground(tmp_path / "snapshots", settings=settings)


@pytest.fixture
def served(world, on, tmp_path):
    made = Served(world, on, tmp_path / "served")
    yield made
    made.close()


def config(tmp_path, said):
    path = tmp_path / "other.toml"
    path.write_text(said)
    return path


def test_the_same_configuration_gives_the_served_lists_again(world, on, served):
    for _ in range(3):
        for user in ("user-1", "user-2", "stranger"):
            served.ask(user, n=5, context={"country": "de"})
        served.ask("user-3", categories=("kind-1",), exclude=("item-1",))
        served.ask(operation="similar", beside="item-2")
        served.ask(operation="popular", n=4)
        world.live(20)
        world.now = world.now // MINUTE * MINUTE + MINUTE
    found = what_if(on, load(), load(), START, END)
    assert found["slates"] == served.count == 18
    assert not found["skipped"]
    everything = found["surfaces"]["all"]
    assert everything["slates"] == 18
    for agreement in (everything, everything["fidelity"]):
        assert (agreement["same"], agreement["overlap"], agreement["first_change"]) == (1.0, 1.0, 0)
    assert everything["only_current"] == everything["only_other"] == {}
    assert {name: one["slates"] for name, one in found["surfaces"].items()} == {
        "all": 18,
        "home": 15,
        "item": 3,
    }
    assert not list(on.settings.data.iterdir())  # nothing is left


def test_past_requests_have_the_arms_they_had(world, on, tmp_path):
    ran = (Decision("running", START), Decision("killed", END + 1))
    arms = {"a": Arm(), "b": Arm(set={"seen": "keep", "pins": {"item-29": 1}})}
    tried = Definition(key="kept", arms=arms, control="a", at=START)
    known = Known({"kept": Record(key="kept", state="killed", versions=(tried,), decided=ran)})
    served = Served(world, on, tmp_path / "served", known=known)
    shown = [served.ask(f"user-{n}") for n in range(1, 9)]
    served.log(msgspec.structs.replace(shown[0], request_id="forced", forced=("kept",)))
    served.close()
    assert {slate.arms["kept"] for slate in shown} == {"a", "b"}
    found, blind = (what_if(on, load(), load(), START, END, known=each) for each in (known, Known()))
    assert found["surfaces"]["all"]["fidelity"]["same"] == 1.0
    assert blind["surfaces"]["all"]["fidelity"]["same"] < 1.0
    assert found["skipped"] == {"an arm was asked for, as a test": 1}


def test_another_configuration_changes_lists_and_the_report_tells_how(world, on, served, tmp_path):
    slates = [served.ask(user) for user in ("user-1", "user-2", "user-3")]
    shown = {item.item_id for slate in slates for item in slate.items}
    pinned = next(item for n in range(29, -1, -1) if (item := f"item-{n}") not in shown)
    changes = f'[surfaces.home]\nseen = "keep"\npins = {{ {pinned} = 1 }}\nquotas = {{ popular = 0 }}\n'
    other = other_config(config(tmp_path, changes), load())
    found = what_if(on, load(), other, START, END)
    home = found["surfaces"]["home"]
    assert home["same"] < 1
    assert home["overlap"] < 1
    assert 0 < home["rank_biased_overlap"] < 1
    assert home["first_change"] == 1
    assert home["only_other"][pinned] == 3
    assert home["sources"]["pin"] == {"current": 0.0, "other": pytest.approx(1 / 8, abs=1e-3)}
    assert home["fidelity"]["same"] == 1.0
    said = "\n".join(text(found))
    assert "home: 3 slates, 0.0% the same" in said
    assert f"{pinned} (3)" in said


def test_the_users_row_is_that_of_the_very_moment(world, on, served, tmp_path):
    """What was clicked a moment ago, in the same minute, is already known; what comes later is not."""
    world.now += 30_000
    for item in ("item-20", "item-21"):
        click = Event(event_id=f"c-{item}", type="click", at=world.now, user_id="user-1", item_id=item)
        world.events("user-1", events.encode([click]))
        if item == "item-20":
            served.ask("user-1", n=30)
        world.now += 1_000
    other = other_config(config(tmp_path, '[surfaces.home]\nseen = "keep"\n'), load())
    found = what_if(on, load(), other, START, END)["surfaces"]["home"]
    assert "item-20" in found["only_other"]
    assert "item-21" not in found["only_other"]


def test_what_cannot_be_asked_again_is_counted_with_its_reason(world, on, served):
    good = served.ask("user-1")
    replaced = msgspec.structs.replace
    served.log(replaced(good, request_id="old", asked=None))
    served.log(replaced(good, request_id="again", asked=None, items=(), rung="cached", same_as="request-1"))
    served.log(
        replaced(good, request_id="anon", user_id="", asked=Asked(operation="recommendAnonymous", n=3))
    )
    served.log(replaced(good, request_id="gone", surface="summer-sale"))
    world.log.append("slates", 0, None, b"\xc1", world.now)
    found = what_if(on, load(), load(), START, END)
    assert found["slates"] == 1
    reasons = {reason.partition(":")[0]: count for reason, count in found["skipped"].items()}
    assert reasons == {
        "from before requests were written down": 1,
        "served again from the cache": 1,
        "anonymous": 1,
        "surface 'summer-sale' is not configured any more": 1,
        "cannot be read": 1,
    }


def test_only_the_span_counts_and_only_the_first_of_it(world, on, served):
    times = []
    for _ in range(4):
        times.append(world.now)
        served.ask("user-1")
        world.live(9)
    spans = [(START, times[0] - 1), (times[0], times[0]), (times[1], times[2]), (times[3] + 1, END)]
    assert [what_if(on, load(), load(), *span)["slates"] for span in spans] == [0, 1, 2, 0]
    assert what_if(on, load(), load(), START, times[0] - 1)["surfaces"] == {}
    limited = []
    found = what_if(on, load(), load(), START, END, 3, lambda total: limited.append(total) or limited.append)
    assert (found["slates"], limited) == (3, [3, 1, 1, 1])
    with pytest.raises(Refused, match="the span ends at"):
        what_if(on, load(), load(), END, START)


def test_a_snapshot_spares_the_fold_of_what_was_before(world, on, served):
    served.ask("user-1")
    replay(on, world.now - 5_000, on.snapshots / str(world.now - 5_000))
    read = world.log.read
    seen = []
    world.log.read = lambda topic, number, start=0, end=None: (
        seen.append((topic, start)) or read(topic, number, start, end)
    )
    assert what_if(on, load(), load(), START, END)["surfaces"]["all"]["fidelity"]["same"] == 1.0
    assert all(start > 5 for topic, start in seen if topic == "events")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (
            "[surfaces.hmoe]\nttl_s = 1.0\n",
            "surfaces.hmoe is not configured now.*cart, email, home, item, search",
        ),
        ("[surfaces.home]\nttl = 1.0\n", r"surfaces\.home.*unknown field `ttl`"),
        ("[surfaces.home]\nttl_s = -1.0\n", r"surfaces\.home\.ttl_s=-1\.0"),
        ("[actions]\nclick = 7.0\n", r"actions\.click=7\.0 where 1\.0 is meant: .* a rebuild tells"),
        ("[actions]\nwave = 7.0\n", r"actions\.wave=7\.0 where None is meant"),
        ("[colours]\n", "colours"),
    ],
)
def test_what_no_past_request_could_have_met_is_refused_by_name(tmp_path, said, named):
    with pytest.raises(SettingsError, match=named):
        other_config(config(tmp_path, said), load())


def test_a_window_is_the_log_within_its_span(world, on):
    begin, until = START + 100_000, START + 400_000
    starts = {
        topic: world.log.positions_at(topic, begin) for topic in ("events", "profiles", "items", "touches")
    }
    window = Window(on, starts, until)
    for topic in starts:
        assert {n: end for n, (_, end) in window.spans(topic).items()} == world.log.positions_at(topic, until)
        for at in range(begin, until + 1, 3_333):
            assert window.positions_at(topic, at) == world.log.positions_at(topic, at)
        for number in range(2):
            begins, ends = starts[topic][number], window.positions_at(topic, until)[number]
            for start, end in ((begins, ends), (begins + 2, ends - 3), (ends, ends)):
                for one in (window, world.log):
                    found = [record for batch in one.read(topic, number, start, end) for record in batch]
                    assert found == [r for r in world.log._records[topic, number] if start <= r.offset < end]
