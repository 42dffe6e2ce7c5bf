"""Trials measure what a user did since they met an arm: by the names that definitions use, and nothing twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import rings, trials, users
from models.actions import DEFAULTS
from models.decay import DAY
from models.trials import Measure, Trials, measure, standing
from models.users import User, react
from streams.errors import Refused
from streams.events import Event
from streams.exposures import MOST, Exposure

AT = 1_700_000_000_000
HOUR = DAY // 24


def shown(n, *exposures, at=AT, items=10, **more):
    return Event(
        event_id=f"exposure-{n}", type="exposure", at=at, user_id="u", request_id=f"r{n}", surface="home",
        value=float(items), exposures=exposures, **more,
    )  # fmt: skip


def did(n, kind="click", item="i", at=AT, **more):
    return Event(event_id=f"e{n}", type=kind, at=at, user_id="u", item_id=item, **more)


def to(*measures, arm="a", version=1, key="x", **more):
    return Exposure(key, version, arm, measures, **more)


def fold(*events, user=None):
    user = User() if user is None else user
    said = [react(user, event, n, DEFAULTS)[2] for n, event in enumerate(events)]
    return user, [each for outcomes in said for each in outcomes]


def measured(user, key="x"):
    trial = user.trials.each[key]
    return dict(zip(trial.names, trial.vector[1:], strict=True))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lists", Measure("count", "exposure")),
        ("exposure.value", Measure("value", "exposure")),
        ("click", Measure("count", "click")),
        ("add_to_cart.any@cart.top", Measure("any", "add_to_cart", "cart.top")),
        ("click@home", Measure("count", "click", "home")),
        ("pre.purchase", Measure("before", "purchase")),
        ("days", Measure("days")),
        ("a.b.value", Measure("value", "a.b")),
    ],
)
def test_a_name_says_what_is_measured(name, found):
    assert measure(name) == found


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Click",
        "click@",
        "@home",
        "click.any@Home",
        "pre.",
        "pre.click@home",
        ".value",
        "click home",
        "a@b@c",
    ],
)
def test_a_name_that_measures_nothing_is_refused(name):
    with pytest.raises(Refused, match="measures nothing; there are lists, days"):
        measure(name)


@given(st.text(max_size=40))
def test_whatever_an_exposure_asks_for_is_folded(name):
    user, _ = fold(shown(0, to(name, "lists")), did(1), shown(2, to(name, "lists")))
    assert measured(user)["lists"] == 2


def test_events_count_from_the_first_exposure_on_and_late_ones_do_not():
    names = (
        "lists",
        "exposure.value",
        "click",
        "click.any",
        "click@cart",
        "purchase.value",
        "pre.click",
        "days",
    )
    user, _ = fold(
        did(0, at=AT - DAY),
        did(1, at=AT - 9_000, item="j"),
        shown(2, to(*names)),
        did(3, at=AT + 1),
        did(4, at=AT + DAY, surface="cart"),
        did(5, at=AT + DAY + 5_000, kind="purchase", value=2.5),
        did(6, at=AT + DAY + 9_000, kind="purchase", value=4.0, item="j"),
        did(7, at=AT - 1, item="late"),
        shown(8, to(*names), at=AT + DAY, items=5),
    )
    assert measured(user) == {
        "lists": 2, "exposure.value": 15.0, "click": 2, "click.any": 1, "click@cart": 1, "purchase.value": 6.5,
        "pre.click": 2, "days": 2,
    }  # fmt: skip


kinds = st.sampled_from(["click", "purchase", "impression", "search"])
lives = st.lists(st.tuples(kinds, st.integers(0, 3), st.booleans(), st.integers(0, 3)), max_size=30)


@settings(deadline=None)
@given(lives, st.integers(0, 10))
def test_what_is_measured_is_what_a_count_of_the_log_finds(life, met):
    """Times are hours apart, so that nothing is capped; some come a day late."""
    events = [
        did(n, kind, f"i{item}", AT + n * HOUR - late * DAY, value=value / 4)
        for n, (kind, item, late, value) in enumerate(life)
    ]
    since = AT + met * HOUR
    log = [
        *events[:met],
        shown("a", to("click", "purchase.value", "search.any", "pre.click", "days", "lists"), at=since),
    ]
    log += events[met:]
    after = [event for event in events[met:] if event.at >= since]
    days, newest = 0, 0
    for event in after:
        if event.type != "impression" and event.at // DAY > newest:
            days, newest = days + 1, event.at // DAY
    user, _ = fold(*log)
    assert measured(user) == {
        "click": sum(event.type == "click" for event in after),
        "purchase.value": sum(event.value for event in after if event.type == "purchase"),
        "search.any": any(event.type == "search" for event in after),
        "pre.click": sum(event.type == "click" for event in events[:met]),
        "days": days,
        "lists": 1,
    }


@settings(deadline=None)
@given(lives, st.data())
def test_what_comes_twice_changes_no_trial_and_says_nothing(life, data):
    events = [shown("a", to("lists", "click", "days", "capped"))]
    events += [did(n, kind, f"i{item}", AT + n * HOUR) for n, (kind, item, _, _) in enumerate(life)]
    again = data.draw(st.sampled_from(events))
    user, _ = fold(*events)
    before, told = user.trials.fields(), user.tally[users.DUPLICATES]
    assert react(user, again, 10_000, DEFAULTS) == (None, None, ())
    assert user.trials.fields() == before
    assert user.tally[users.DUPLICATES] == told + 1


def test_an_exposure_is_no_act():
    user, _ = fold(shown(0, to("lists")))
    assert (user.first_at, user.last_at, user.totals, user.length, bytes(user.ids)) == (0, 0, {}, 0, b"")
    assert user.tally == [1, 0, 0]


def test_who_met_an_arm_stays_in_it_and_a_new_version_begins_anew():
    user, said = fold(
        shown(0, to("lists", "pre.click")),
        shown(1, to("lists", "pre.click", arm="b")),
        did(2),
        shown(3, to("lists", "pre.click", version=2, arm="b")),
    )
    assert standing(user.trials) == {"x": (2, "b")}
    assert measured(user) == {"lists": 1, "pre.click": 1}
    assert [(one.version, one.arm, one.before, one.after) for one in said] == [
        (1, "a", (), (1, 1, 0)),
        (2, "b", (), (1, 1, 1)),
    ]


def test_every_session_is_a_unit_of_its_own_where_sessions_are_assigned():
    user, said = fold(
        shown(0, to("lists", unit="u@1")),
        shown(1, to("lists", unit="u@1")),
        shown(2, to("lists", arm="b", unit="u@2")),
    )
    assert standing(user.trials) == {"x": (1, "b")}
    assert [(one.arm, one.before, one.after) for one in said] == [
        ("a", (), (1, 1)),
        ("a", (1, 1), (1, 2)),
        ("b", (), (1, 1)),
    ]


def test_only_what_changed_is_told():
    _, said = fold(shown(0, to("lists", "click")), did(1, "view"), did(2), did(3, item="j", at=AT - 1))
    assert [(one.origin, one.before, one.after) for one in said] == [
        (0, (), (1, 1, 0)),
        (2, (1, 1, 0), (1, 1, 1)),
    ]


def test_an_erasure_takes_the_user_out_of_every_arm_and_older_exposures_stay_out():
    user, said = fold(
        shown(0, to("lists")),
        Event(event_id="x", type="erase", at=AT + 5, user_id="u"),
        shown(2, to("lists"), at=AT + 5),
    )
    assert user.trials is None
    assert [(one.before, one.after) for one in said] == [((), (1, 1)), ((1, 1), ())]
    fold(shown(3, to("lists"), at=AT + 6), user=user)
    assert measured(user) == {"lists": 1}


def test_repeats_within_a_second_and_more_than_a_person_does_are_capped():
    user, _ = fold(
        shown(0, to("click", "capped", "days")),
        did(1, at=AT),
        did(2, at=AT + 999),
        did(3, at=AT + 500, item="j"),
        did(4, at=AT + 2_500),
    )
    assert measured(user) == {"click": 3, "capped": 1, "days": 1}
    begin = AT - AT % HOUR + HOUR
    fold(*(did(10 + n, item=f"i{n}", at=begin + n) for n in range(trials.BUSY + 7)), user=user)
    assert measured(user) == {
        "click": 3 + trials.BUSY,
        "capped": 8,
        "days": 2 if begin // DAY > AT // DAY else 1,
    }
    fold(did(9_999, at=begin + HOUR), user=user)
    assert measured(user)["click"] == 4 + trials.BUSY


def teams(**team_of):
    return b"".join(rings.digest(item, 4) + bytes([team]) for item, team in team_of.items())


def test_a_choice_is_credited_once_to_the_arm_that_chose_its_item():
    both = to("prefers", arm="both", teams=teams(a=0, b=1, c=1, d=9))
    user, _ = fold(shown(0, both))
    for n, (item, balance) in enumerate([("b", 1), ("b", 1), ("zzz", 1), ("d", 1), ("a", 0), ("c", 1)], 1):
        fold(did(f"c{n}", item=item, at=AT + n * 5_000, request_id="r0"), user=user)
        assert measured(user) == {"prefers": balance}, item
    fold(did(8, "hide", "a", AT + 60_000, request_id="r0"), user=user)
    assert measured(user) == {"prefers": 1}


def test_a_choice_without_a_request_is_credited_in_the_newest_list_that_showed_it_in_time():
    user, _ = fold(
        shown(0, to("prefers", teams=teams(a=0, b=0))),
        shown(1, to("prefers", teams=teams(a=1)), at=AT + 1_000),
        did(2, item="a", at=AT + 5_000),
    )
    assert measured(user) == {"prefers": 1}
    fold(did(3, item="b", at=AT + DAY + 5_000), user=user)
    assert measured(user) == {"prefers": 1}
    fold(did(4, item="b", at=AT + DAY), did(5, item="a", at=AT + DAY, request_id="r0"), user=user)
    assert measured(user) == {"prefers": -1}


def test_of_seventeen_experiments_the_one_longest_not_shown_leaves_and_stays_counted():
    user, said = fold(
        *(shown(n, to("lists", key=f"x{n}")) for n in range(MOST)),
        shown("again", to("lists", key="x0")),
        shown("more", to("lists", key="new")),
    )
    assert set(user.trials.each) == {"new", *(f"x{n}" for n in range(MOST) if n != 1)}
    assert all(one.after for one in said)


def test_a_row_tells_everything_of_its_trials():
    user, _ = fold(
        shown(0, to("lists", "prefers", "purchase.value", teams=teams(i=1))), did(1, "purchase", value=0.5)
    )
    again = User.from_row(user.row())
    assert again.trials == user.trials
    assert again.row() == user.row()
    assert Trials.of(user.trials.fields()) == user.trials
