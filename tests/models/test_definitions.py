"""What cannot be run is refused with its reason; what runs can only be ramped and ended."""

import msgspec
import numpy as np
import pytest

from models.definitions import check, defined, ended, held, ramped, started
from models.finals import standing
from models.outcomes import Sheet
from models.surfaces import load
from streams.errors import Refused
from streams.experiments import Arm, Definition, Known, Metric, Step, Where, decode, encode

CONFIG = load()
ARMS = {"a": Arm(), "b": Arm(set={"diversity": 0.5})}
MODELS = ("ranker", "ranker@0123")


def definition(key="e", **more):
    return Definition(**({"key": key, "arms": ARMS, "control": "a"} | more))


def define(known, said, at=1):
    return defined(known, said, CONFIG, MODELS, at, "me")


def with_(known, *records):
    return Known({**known.records, **{one.key: one for one in records}}, known.holdout)


def running(*said):
    known = Known()
    for one in said:
        known = with_(known, define(known, one))
        known = with_(known, started(known, one.key, CONFIG, MODELS, 2, "me"))
    return known


def arms(**sets):
    return {"a": Arm(), **{name: Arm(set=said) for name, said in sets.items()}}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"key": "holdout"}, "key='holdout': the name is taken"),
        (
            {
                "arms": {
                    **ARMS,
                    "c": Arm(set={"pins": {"x" * 9999: 1}}),
                    "d": Arm(set={"pins": {"y" * 9999: 1}}),
                }
            },
            "takes 20",
        ),
        ({"arms": {}}, "control='a' is no arm; there are none"),
        ({"control": "c"}, "control='c' is no arm; there are a, b"),
        ({"arms": {"a": Arm(0.0), "b": Arm(0.0)}}, r"weights \[0.0, 0.0\] do not sum to anything"),
        ({"arms": {"a": Arm()}}, "nothing to compare"),
        ({"arms": {"a": Arm(0.0), "b": Arm(), "c": Arm()}}, "the control and another arm need a weight"),
        ({"arms": {"a": Arm(), "both": Arm()}}, "arms.both: the name is taken"),
        ({"arms": arms(b={"colour": 1})}, "arms.b.set.*unknown field `colour`"),
        ({"arms": arms(b={"diversity": 7.0})}, r"arms.b.set.diversity=7.0"),
        ({"arms": arms(b={"quotas": {"x": 1}})}, r"arms.b.set.quotas.*unknown field `x`"),
        ({"arms": arms(b={"actions": {"wave": 1.0}})}, r"arms.b.set.actions.wave=1.0: no action"),
        (
            {"arms": arms(b={"model": "no"})},
            "arms.b.set.model='no' is not a model that can serve; there are ranker, ",
        ),
        ({"arms": arms(b={"boost": 2.0})}, "unknown field `boost`"),
        ({"unit": "item"}, "an arm of items sets their `boost` and nothing else"),
        ({"unit": "item", "arms": arms(b={"boost": -1})}, "arms.b.set.boost=-1 is outside 0..1000"),
        ({"unit": "item", "arms": arms(b={"boost": 2.0}), "where": Where(min_events=1)}, "users have them"),
        ({"unit": "item", "arms": arms(b={"boost": 2.0}), "sticky": True}, "only users can keep the arm"),
        ({"surfaces": ("nowhere",)}, "surfaces='nowhere' is not a surface; there are cart"),
        ({"layer": "l", "slice": (0.5, 0.5)}, "begins where it ends"),
        ({"slice": (0.0, 0.5)}, "name the layer"),
        ({"ramp": (Step(20, 0.1), Step(10, 0.5))}, r"ramp: its steps must follow each other.*\[20, 10\]"),
        ({"where": Where(min_events=5, max_events=4)}, "max_events=4 is below min_events=5"),
        ({"unit": "session", "sticky": True}, "only users can keep the arm"),
        ({"kind": "interleaved", "arms": {**ARMS, "c": Arm()}}, "two arms of the same weight"),
        ({"kind": "interleaved", "unit": "session"}, "its unit is the user"),
        ({"metrics": {"m": Metric(of="")}}, "metrics.m.of is empty"),
        ({"metrics": {"m": Metric(of="Click")}}, "metrics.m: 'Click' "),
        ({"metrics": {"m": Metric(of="click", per="@home")}}, "metrics.m: '@home' "),
        ({"metrics": {"m": Metric(of="click@nowhere")}}, "'click@nowhere' names no surface; there are cart"),
        ({"metrics": {"m": Metric(of="click", per="click")}}, "'click' per 'click' is always 1"),
        (
            {"metrics": {f"m{n}": Metric(of=f"t{n}") for n in range(9)}},
            "19 measures .*, 16 at most; covariate = false",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(said, reason):
    with pytest.raises(Refused, match=reason):
        check(definition(**said), CONFIG, MODELS)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"arms": arms(b={"model": "ranker@0123", "tier": "full"})},
        {"arms": arms(b={"explore": {"slots": 2}, "pins": {"x": 3}, "boosts": {"tea": 2.0}})},
        {"unit": "item", "arms": arms(b={"boost": 2})},
        {"kind": "interleaved", "metrics": {"m": Metric(of="prefers", primary=True)}},
        {"metrics": {"m": Metric(of="purchase.value@cart", per="lists", margin=0.05)}},
    ],
)
def test_what_can_be_run_is_not(said):
    check(definition(**said), CONFIG, MODELS)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            {"layer": "l", "slice": (0.0, 0.6)},
            r"slice=\[0.0, 0.6\] of layer 'l' overlaps \[0.5, 1.0\] of 'there'",
        ),
        (
            {"layer": "l", "slice": (0.0, 0.5), "unit": "session"},
            "'l' divides users .*: sessions need another layer",
        ),
        ({"layer": "k"}, "'diversity' is set by 'there' too"),
        ({"arms": arms(b={"diversity": 0.0}), "surfaces": ("home",)}, "'diversity' is set by 'there' too"),
    ],
)
def test_what_cannot_run_beside_another_is_refused(said, reason):
    there = definition("there", layer="l", slice=(0.5, 1.0), surfaces=("home", "cart"))
    known = running(there)
    with pytest.raises(Refused, match=reason):
        define(known, definition(**said))
    gone = with_(known, ended(known, "there", "stopped", 3))
    assert define(gone, definition(**said)).state == "draft"


@pytest.mark.parametrize(
    "said",
    [
        {"layer": "l", "slice": (0.0, 0.5)},
        {"surfaces": ("email",)},
        {"arms": arms(b={"seen": "keep"})},
        {"arms": arms(b={"quotas": {"fresh": 9}})},
        {"unit": "item", "arms": arms(b={"boost": 2.0})},
    ],
)
def test_what_cannot_meet_or_differs_runs_beside_another(said):
    known = running(definition("there", layer="l", slice=(0.5, 1.0), surfaces=("home", "cart")))
    assert define(known, definition(**said)).state == "draft"


def test_one_list_has_at_most_sixteen_experiments():
    places = list(CONFIG.surfaces["home"].quotas.__struct_fields__)
    each = [{"quotas": {place: 1}} for place in places] + [{"boosts": {f"c{n}": 2.0}} for n in range(20)]
    known = running(*(definition(f"e{n}", arms=arms(b=each[n])) for n in range(16)))
    with pytest.raises(Refused, match="17 experiments could meet in one list, 16 at most"):
        define(known, definition("last", arms=arms(b=each[16])))


def test_two_interleaved_ones_need_a_layer():
    known = running(definition("there", kind="interleaved"))
    other = definition(kind="interleaved", arms=arms(b={"seen": "keep"}))
    with pytest.raises(Refused, match="'there' is interleaved too"):
        define(known, other)


def test_what_runs_can_only_be_ramped_and_ended():
    known = running(definition())
    with pytest.raises(Refused, match="runs: only its ramp can be changed"):
        define(known, definition(seed="2"))
    with pytest.raises(Refused, match="runs already"):
        started(known, "e", CONFIG, MODELS, 3, "me")
    grown = ramped(known, "e", (Step(10, 0.1), Step(20, 0.5)), 10, "me")
    assert (grown.revision, grown.state, grown.current.version) == (3, "running", 1)
    assert [grown.current.share(at) for at in (10, 20)] == [0.1, 0.5]
    again = ramped(with_(known, grown), "e", (Step(15, 1.0),), 15, "me")
    assert again.current.ramp == (Step(10, 0.1), Step(15, 1.0))
    later = ramped(known, "e", (Step(30, 0.5),), 10, "me")
    assert [later.current.share(at) for at in (10, 30)] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), "at least one step"),
        ((Step(5, 0.1),), "5 is over; a step begins now or later"),
        ((Step(20, 0.1), Step(15, 0.2)), "must follow each other"),
    ],
)
def test_a_ramp_that_cannot_be_is_refused(steps, reason):
    with pytest.raises(Refused, match=reason):
        ramped(running(definition()), "e", steps, 10, "me")


def test_versions_that_ran_stay_and_drafts_are_replaced():
    known = with_(Known(), define(Known(), definition()))
    edited = define(known, definition(seed="2"), at=2)
    assert [(one.version, one.seed, one.at) for one in edited.versions] == [(1, "2", 2)]
    known = running(definition())
    known = with_(known, ended(known, "e", "stopped", 5, "enough", "me"))
    newer = define(known, definition(seed="2"), at=6)
    assert [(one.version, one.seed) for one in newer.versions] == [(1, ""), (2, "2")]
    assert (newer.state, newer.revision) == ("draft", 4)
    assert [one.state for one in newer.decided] == ["draft", "running", "stopped", "draft"]
    again = started(with_(known, newer), "e", CONFIG, MODELS, 7, "me")
    assert (again.at(4).version, again.at(5), again.at(7).version) == (1, None, 2)


def test_ends():
    known = running(definition())
    stopped = ended(known, "e", "stopped", 5, "why", "me")
    assert msgspec.to_builtins(stopped.decided[-1]) == {
        "state": "stopped",
        "at": 5,
        "reason": "why",
        "by": "me",
    }
    assert started(with_(known, stopped), "e", CONFIG, MODELS, 6, "me").state == "running"
    assert ended(with_(known, stopped), "e", "stopped", 6) is None
    killed = ended(with_(known, stopped), "e", "killed", 6)
    assert ended(with_(known, killed), "e", "stopped", 7) is None
    with pytest.raises(Refused, match="'e' was killed: only a new version of it can be started"):
        started(with_(known, killed), "e", CONFIG, MODELS, 7, "me")
    with pytest.raises(Refused, match="'e' is killed: nobody takes part"):
        ramped(with_(known, killed), "e", (Step(9, 1.0),), 7, "me")
    with pytest.raises(Refused, match="no experiment is called 'f'; there are: e"):
        ended(known, "f", "killed", 7)


def test_the_word_that_ends_an_experiment_keeps_what_it_came_to():
    known = running(definition())
    gram = np.array([[2.0, 5.0], [5.0, 13.0]])
    sheets = {
        (1, "a"): Sheet(("lists",), gram),
        (1, "b"): Sheet(("click",), 2 * gram),
        (0, "a"): Sheet.empty(),
    }
    stopped = ended(known, "e", "stopped", 5, sheets=sheets)
    later = {arm: Sheet(sheet.names, 9 * sheet.gram) for arm, sheet in sheets.items()}
    read = decode({"e": encode(stopped)}).records["e"]
    for record in (read, ended(with_(known, stopped), "e", "killed", 6, sheets=later)):
        found = standing(record, later)
        assert set(found) == {(1, "a"), (1, "b")}
        for arm, sheet in found.items():
            assert (sheet.under(sheets[arm].names) == sheets[arm].gram).all()
            assert (sheet.gram == sheet.gram.T).all()
    again = started(with_(known, stopped), "e", CONFIG, MODELS, 7, "me")
    assert standing(again, later) is later
    assert standing(define(with_(known, stopped), definition(seed="2"), at=8), later) is later
    assert standing(ended(known, "e", "stopped", 5), later) is later


def test_the_holdout_counts_its_words():
    one = held(Known(), 0.05, "", 1, "me")
    two = held(Known(holdout=one), 0.1, "s", 2, "me")
    assert (one.revision, two.revision, two.share, two.key) == (1, 2, 0.1, "holdout")
    with pytest.raises(Refused, match=r"share=1.5 of the holdout"):
        held(Known(), 1.5, "", 1, "me")
