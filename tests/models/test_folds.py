"""Every fold keeps every law; then what each of them promises by itself."""

import hashlib
import math
import random
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import actions, items, popular, rings, users
from models.actions import DEFAULTS, weight_of
from models.decay import DAY, LANDMARK, current, growth, keep_largest
from models.items import CHOICES, IMPRESSIONS, VALUE, WINDOWS, ItemRow, examination, sliding
from models.marks import advance, in_order
from models.popular import Popular
from models.users import User
from streams import examples, touches
from streams.errors import StateError
from streams.events import Event
from streams.examples import Choice
from streams.rows import pack
from streams.touches import Touch
from tests import strategies
from tests.models.laws import (
    KINDS,
    check_is_bounded,
    check_round_trip,
    check_snapshot_anywhere,
    check_snapshot_is_a_prefix,
    records_of,
    replay,
)

AT = 1_700_000_000_000
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@kinds
def test_laws_of_rows(kind):
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, 150), st.floats(0, 1))
    def law(seed, count, share):
        records = records_of(kind, seed, count)
        check_round_trip(kind, records)
        check_snapshot_is_a_prefix(kind, records, int(count * share))
        check_snapshot_anywhere(kind, records[:40])

    law()


@kinds
def test_a_row_is_bounded(kind):
    check_is_bounded(kind)


@kinds
def test_a_row_of_another_version_is_not_read(kind):
    with pytest.raises(StateError, match="version 99"):
        kind.state.from_row(pack(99, ()))


DIGESTS = """
import hashlib
from tests.models.laws import KINDS, records_of, replay
for kind in KINDS:
    print(kind.name, hashlib.sha256(replay(kind, records_of(kind, 7, 500)).row()).hexdigest())
"""


def test_a_fold_gives_the_same_bytes_in_every_interpreter():
    root = str(Path(__file__).parents[2])
    said = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = "".join(
        f"{kind.name} {hashlib.sha256(replay(kind, records_of(kind, 7, 500)).row()).hexdigest()}\n"
        for kind in KINDS
    )
    assert said == {here}


def react(user, event, origin=0, weights=DEFAULTS):
    return users.react(user, event, origin, weights)


def fold(said):
    user = User()
    for origin, event in enumerate(said):
        react(user, event, origin)
    return user


def click(n, item="i", **more):
    return Event(
        **{"event_id": f"e{n}", "type": "click", "at": AT + n, "user_id": "u", "item_id": item, **more}
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(strategies.events, max_size=12))
def test_no_valid_event_raises_and_what_it_says_survives_the_wire(said):
    user, rows = User(), defaultdict(ItemRow)
    for origin, event in enumerate(said):
        touch, choice, _ = react(user, event, origin)
        if touch is not None:
            assert touches.decode(touches.encode(0, 0, [touch])).said == [touch]
            items.touch(rows[touch.item], touch)
        if choice is not None:
            assert examples.decode(examples.encode(0, 0, [choice])).said == [choice]
            assert choice.item not in choice.after
            assert len(set(choice.after)) == len(choice.after) <= users.TRAIL
    for state in (user, *rows.values()):
        assert type(state).from_row(state.row()).row() == state.row()
    assert all(math.isfinite(number) for number in [*user.affinity.values(), *user.counts.values()])


@settings(deadline=None)
@given(st.lists(strategies.crowded, max_size=40))
def test_users_do_not_depend_on_the_order_of_one_another(said):
    def folded(order):
        rows = defaultdict(User)
        for event in order:
            react(rows[event.user], event)
        return {key: user.row() for key, user in rows.items()}

    apart = sorted(said, key=lambda event: event.user)  # stable: each user's own order stays
    assert folded(said) == folded(apart)


@settings(deadline=None)
@given(st.lists(strategies.crowded, min_size=1, max_size=20), st.data())
def test_an_event_id_that_is_remembered_changes_nothing_and_says_nothing(said, data):
    user = fold(said)
    again = data.draw(st.sampled_from(said))
    before, folded = user.row(), user.tally[users.FOLDED]
    assert react(user, again, 10_000) == (None, None, ())
    assert user.tally[users.FOLDED] == folded
    user.tally[users.DUPLICATES] -= 1  # all that is remembered of it
    assert user.row() == before


@given(st.lists(strategies.crowded, max_size=40))
def test_every_event_is_either_folded_or_a_duplicate(said):
    user = fold(said)
    assert user.tally[users.FOLDED] + user.tally[users.DUPLICATES] == len(said)
    assert user.tally[users.FOLDED] == len({event.event_id for event in said})


def test_an_event_further_behind_than_the_attribution_window_counts_as_late():
    user = fold(
        [
            Event(event_id=str(n), type="click", at=AT - back, user_id="u")
            for n, back in enumerate((0, 1, users.ATTRIBUTION, users.ATTRIBUTION + 1))
        ]
    )
    assert user.tally == [4, 0, 1]


def test_an_event_id_is_remembered_for_64_more_events():
    user = fold([click(0)])
    for n in range(1, users.IDS):
        react(user, click(n))
    react(user, click(0))
    assert user.totals == {"click": users.IDS}
    react(user, click(users.IDS))
    react(user, click(0))
    assert user.totals == {"click": users.IDS + 2}


def test_an_erasure_leaves_only_marks_and_ids():
    user = fold([click(n, f"i{n}", categories=("c",)) for n in range(5)])
    user.marks = {1: 2, 3: 4}
    ids = bytes(user.ids)
    assert react(user, Event(event_id="x", type="erase", at=AT, user_id="u")) == (None, None, [])
    assert user == User(marks={1: 2, 3: 4}, ids=user.ids, erased_at=AT, tally=[6, 0, 0])
    assert user.ids.startswith(ids)
    react(user, click(1))
    assert user.totals == {}  # the past does not come back
    react(user, click(100))
    assert user.totals == {"click": 1}


def test_history_keeps_the_newest_events_in_order():
    user = fold([click(n, f"i{n}") for n in range(1_000)])
    assert users.HISTORY * 3 // 4 <= user.length == len(user.history) <= users.HISTORY
    assert user.history == [[f"i{n}", "click", AT + n, 1.0] for n in range(1_000 - user.length, 1_000)]


def test_impressions_leave_no_trace_in_history_but_are_counted():
    user = fold([click(1, type="impression"), click(2, item=None, type="search")])
    assert (user.length, user.trail, bytes(user.seen)) == (0, [], b"")
    assert user.totals == {"impression": 1, "search": 1}


def test_seen_items_are_known_and_the_oldest_is_forgotten():
    user = fold([click(n, f"i{n}") for n in range(users.SEEN + 1)])
    assert len(user.seen) == 4 * users.SEEN
    assert not rings.known(user.seen, users.seen_hash("i0"))
    assert all(rings.known(user.seen, users.seen_hash(f"i{n}")) for n in range(1, users.SEEN + 1))


def test_a_session_ends_after_half_an_hour_of_silence_and_late_events_do_not_start_one():
    user = fold([click(0), click(users.SESSION_GAP), click(-1_000)])
    assert user.session == [AT, AT + users.SESSION_GAP, 3]
    react(user, click(2 * users.SESSION_GAP + 1))
    assert user.session == [AT + 2 * users.SESSION_GAP + 1, AT + 2 * users.SESSION_GAP + 1, 1]
    assert (user.first_at, user.last_at) == (AT - 1_000, AT + 2 * users.SESSION_GAP + 1)


def test_a_choice_is_an_example_of_what_follows_the_choices_before_it():
    user = fold([click(n, item) for n, item in enumerate("abcb")])
    touch, choice, _ = react(user, click(10, "a", type="purchase"), 77)
    assert choice == Choice(77, "a", ("b", "c"), AT + 10, DEFAULTS["purchase"], known=3, again=True)
    assert (touch.origin, touch.item, touch.weight) == (77, "a", DEFAULTS["purchase"])
    assert user.trail == ["a", "b", "c"]


def test_choosing_the_same_again_is_a_touch_but_no_example():
    user = fold([click(1, "a"), click(2, "b")])
    touch, choice, _ = react(user, click(3, "b"))
    assert (touch.item, choice) == ("b", None)
    assert user.trail == ["b", "a"]


def test_what_is_neither_chosen_nor_disliked_is_no_example():
    user = fold([click(1, "a")])
    assert react(user, click(2, "b", type="impression"))[1] is None
    assert react(user, click(3, "b", type="wink"))[1] is None


def test_a_dislike_is_an_example_against_and_leaves_the_trail():
    user = fold([click(1, "a"), click(2, "b"), click(3, "c")])
    touch, choice, _ = react(user, click(4, "b", type="hide", categories=("c",)), 7)
    assert (touch.weight, touch.contexts) == (-5.0, ())
    assert choice == Choice(7, "b", ("c", "a"), AT + 4, -5.0, known=3, again=True)
    assert user.trail == ["c", "a"]
    assert user.affinity["c"] < 0


def test_the_trail_holds_the_last_distinct_choices():
    user = fold([click(n, f"i{n % 70}") for n in range(100)])
    assert user.trail == [f"i{n % 70}" for n in range(99, 99 - users.TRAIL, -1)]


def test_weights_are_given_by_configuration():
    assert weight_of({"wink": 4.0}, "wink", None) == 4.0
    assert weight_of(DEFAULTS, "wink", 5.0) == 0.0
    assert [weight_of(DEFAULTS, "rating", value) for value in (0.0, 3.0, 5.0, 1e11)] == [-2.0, 0.0, 2.0, 2.0]
    assert [weight_of(DEFAULTS, "dwell", value) for value in (-1.0, 30.0, 1e11)] == [0.0, 1.0, 2.0]
    assert weight_of(DEFAULTS, "purchase", 99.0) == DEFAULTS["purchase"]


amounts = st.integers(-5_000, 5_000).map(
    lambda n: n / 1000
)  # times the least growth still far from no number


@given(
    st.lists(st.tuples(strategies.times, amounts), min_size=1, max_size=20),
    strategies.times,
)
def test_a_decayed_sum_is_that_of_plain_arithmetic_and_always_finite(said, now):
    half_life = 30 * DAY
    total = sum(amount * growth(at, half_life) for at, amount in said)
    assert math.isfinite(total)
    if max(now, *(at for at, _ in said)) < LANDMARK + 700 * half_life:  # 2077; growth stands still later
        plain = [amount * 2.0 ** ((at - now) / half_life) for at, amount in said]
        size = sum(map(abs, plain))
        assert current(total, now, half_life) == pytest.approx(sum(plain), rel=1e-9, abs=size * 1e-9)


def test_growth_is_one_at_the_landmark_and_doubles_by_half_lives():
    assert growth(LANDMARK, DAY) == 1.0
    assert growth(LANDMARK - DAY, DAY) == 0.5
    assert growth(4_102_444_800_000, DAY) == 2.0**900


def test_the_largest_by_size_are_kept_and_ties_go_by_key():
    sums = {"a": 1.0, "b": -3.0, "c": 1.0, "d": 2.0, "e": 0.5}
    keep_largest(sums, 3)
    assert sums == {"a": 1.0, "b": -3.0, "d": 2.0}


def test_a_ring_forgets_the_oldest_and_is_not_fooled_between_two():
    ring = bytearray()
    for n in range(10):
        rings.remember(ring, bytes([n, n + 1]), 4)
    assert ring == bytes([6, 7, 7, 8, 8, 9, 9, 10])
    assert rings.known(ring, bytes([7, 8]))
    assert not rings.known(ring, bytes([7, 7]))
    assert not rings.known(ring, bytes([5, 6]))


def test_a_mark_moves_forward_only_and_sources_do_not_meet():
    marks = {}
    assert advance(marks, 9, 0)
    assert not advance(marks, 9, 0)
    assert advance(marks, 3, 7)
    assert not advance(marks, 3, 6)
    assert list(in_order(marks).items()) == [(3, 7), (9, 0)]


def touch(at, kind="click", weight=1.0, position=-1, surface=""):
    return Touch(0, "i", kind, at, weight, position, surface, ())


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4 * WINDOWS[0]), st.booleans()), max_size=60),
    st.integers(0, WINDOWS[0]),
)
def test_a_window_counts_as_if_the_tile_before_were_spread_evenly(said, later):
    """Events in time order: this tile is counted exactly, the one before by the share still inside the window."""
    row, start, span = ItemRow(), AT - AT % WINDOWS[0], WINDOWS[0]
    said = sorted(said)
    for after, shown in said:
        kind, weight = ("impression", 0.0) if shown else ("purchase", 5.0)
        items.touch(row, touch(start + after, kind, weight))
    now = start + max((after for after, _ in said), default=0) + later
    tile, share = divmod(now, span)
    for what, of in ((IMPRESSIONS, True), (CHOICES, False)):
        tiles = Counter((start + after) // span for after, shown in said if shown is of)
        expected = tiles[tile] + tiles[tile - 1] * (1 - share / span)
        assert sliding(row.windows[0], span, now, what) == pytest.approx(expected)
    value = 5 * sliding(row.windows[0], span, now, CHOICES)
    assert sliding(row.windows[0], span, now, VALUE) == pytest.approx(value)
    exact = sum(1 for after, shown in said if not shown and now - span < start + after <= now)
    before = sum(1 for after, shown in said if not shown and (start + after) // span == tile - 1)
    assert abs(sliding(row.windows[0], span, now, CHOICES) - exact) <= before


def test_a_window_takes_a_late_event_of_the_tile_before_and_no_older_one():
    row, start, span = ItemRow(), AT - AT % WINDOWS[0], WINDOWS[0]
    for at in (start + 2 * span, start + span, start):
        items.touch(row, touch(at))
    assert sliding(row.windows[0], span, start + 2 * span, CHOICES) == 2.0
    assert row.totals == {"click": 3}
    assert (row.first_at, row.last_at) == (start, start + 2 * span)


def test_an_old_window_is_empty():
    row = ItemRow()
    items.touch(row, touch(AT))
    assert sliding(row.windows[0], WINDOWS[0], AT + 2 * WINDOWS[0], CHOICES) == 0.0


def test_ctr_is_choices_from_a_place_over_places_looked_at():
    row = ItemRow()
    for position in (0, 0, 2, -1):
        items.touch(row, touch(AT, actions.IMPRESSION, 0.0, position))
    items.touch(row, touch(AT, position=2))
    items.touch(row, touch(AT))  # chosen, but not from a list
    items.touch(row, touch(AT, "hide", -5.0, 0))
    assert row.examined == pytest.approx(1 + 1 + 1 / math.log2(4) + examination(4))
    assert (row.answered, row.chosen) == (1, 2)
    assert examination(-1) == examination(4)
    assert all(examination(n) > examination(n + 1) > 0 for n in range(100))


def test_surfaces_are_counted_apart_as_shown_and_chosen():
    row = ItemRow()
    items.touch(row, touch(AT, actions.IMPRESSION, 0.0, 0, "home"))
    items.touch(row, touch(AT, surface="home"))
    items.touch(row, touch(AT, surface="cart"))
    items.touch(row, touch(AT, "hide", -5.0, 0, "email"))
    assert row.surfaces == {"home": [1, 1], "cart": [0, 1]}


def test_a_tombstone_unlists_an_item_and_keeps_what_was_learned():
    row = ItemRow()
    items.list_item(row, strategies.Item(title="t"))
    items.touch(row, touch(AT))
    items.list_item(row, None)
    assert row.catalogue is None
    assert row.chosen == 1


def test_a_list_keeps_the_most_chosen_whatever_the_order():
    row, draw = Popular(), random.Random(1)
    names = [f"i{n}" for n in range(250) for _ in range(n % 50 + 1)]
    draw.shuffle(names)
    for name in names:
        popular.choose(row, name, 1.0)
    assert len(row.items) == 250
    for n in range(100):
        popular.choose(row, f"once-{n}", 0.5)
    assert popular.KEEP <= len(row.items) <= popular.KEEP * 3 // 2
    assert all(f"i{n}" in row.items for n in range(250) if n % 50 > 25)


def test_a_choice_made_before_is_one_again_and_a_look_without_weight_makes_none():
    user = fold([click(1, "a"), click(2, "b")])
    assert react(user, click(3, "a", type="purchase"))[1].again
    assert not react(user, click(4, "c"))[1].again
    react(user, click(5, "d", type="wink"))
    assert not react(user, click(6, "d"))[1].again


def test_an_example_tells_what_was_acted_on_once_the_trail_is_full():
    user = fold([click(n, f"i{n}") for n in range(users.TRAIL - 1)])
    assert react(user, click(100, "last"))[1].before == b""
    told = [f"i{n}" for n in range(users.TRAIL - 1)] + ["last"]
    assert react(user, click(101, "more"))[1].before == b"".join(map(users.seen_hash, told))
    many = fold([click(n, f"i{n}") for n in range(users.SEEN)])
    newest = [f"i{n}" for n in range(users.SEEN - users.BEFORE, users.SEEN)]
    assert many.before == b"".join(map(users.seen_hash, newest))


def test_what_a_full_trail_forgot_is_known_by_what_was_acted_on():
    user = fold([click(n, f"i{n}") for n in range(users.TRAIL + 5)])
    assert "i0" not in user.trail
    assert react(user, click(200, "i0"))[1].again
    assert not react(user, click(201, "never"))[1].again
