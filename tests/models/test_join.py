import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import join, marks
from models.actions import DEFAULTS
from models.join import Shown
from streams.events import Event
from streams.examples import digest_of
from streams.slates import Shown as Place
from streams.slates import Slate

AT = 1_700_000_000_000
EVENTS, SLATES = marks.source(0, 0, 0), marks.source(1, 0, 0)
NAMES = ("f", "g")


def slate(request="r", at=AT, items="abcdef", **more):
    places = tuple(Place(item, n, 0.5, 1.0, "ann", (float(n), 0.5)) for n, item in enumerate(items))
    if "same_as" in more:
        return Slate(request_id=request, user_id="u", at=at, surface="home", rung="cached", **more)
    return Slate(
        request_id=request,
        user_id="u",
        at=at,
        surface="home",
        rung="full",
        features=NAMES,
        items=places,
        **more,
    )


def event(kind="click", item="c", request="r", at=AT + 1000, **more):
    return Event(
        event_id=f"{kind}{item}{at}", type=kind, at=at, user_id="u", item_id=item, request_id=request, **more
    )


def fold(shown, record, origin):
    if isinstance(record, Slate):
        return join.show(shown, record, origin, SLATES)[1]
    return join.act(shown, record, origin, EVENTS, DEFAULTS)[1]


def folded(*records):
    shown = Shown()
    return shown, [said for n, record in enumerate(records) if (said := fold(shown, record, n))]


def ids(said):
    return sorted((each.request, place, "") for each in said for place in each.fresh) + sorted(
        (each.request, place, action) for each in said for action, place in each.chosen
    )


def test_a_choice_says_its_place_and_all_above_it_were_seen():
    _, [said] = folded(slate(), event(item="c"))
    assert (said.fresh, said.chosen, said.rows) == ((0, 1, 2), (("click", 2),), (0, 1, 2))
    assert np.frombuffer(said.matrix, "<f4").reshape(3, 2).tolist() == [[0, 0.5], [1, 0.5], [2, 0.5]]
    assert (said.surface, said.features, said.at) == ("home", digest_of(NAMES), AT)


def test_a_later_choice_says_only_what_the_first_did_not():
    _, [_, more, above] = folded(
        slate(), event(item="c"), event("purchase", "e", at=AT + 2000), event("like", "a", at=AT + 3000)
    )
    assert (more.fresh, more.chosen) == ((3, 4), (("purchase", 4),))
    assert (above.fresh, above.chosen, above.rows) == ((), (("like", 0),), (0,))


def test_an_impression_says_its_own_place_only():
    _, [said] = folded(slate(), event("impression", "e"))
    assert (said.fresh, said.chosen) == ((4,), ())


def test_an_act_waits_for_its_slate():
    _, [late] = folded(event(item="b"), event("impression", "d"), slate())
    assert (late.source, late.origin) == ("slates", 2)
    assert (late.fresh, late.chosen) == ((0, 1, 3), (("click", 1),))


def test_what_was_served_again_is_learned_with_the_features_it_was_ranked_by():
    _, [said] = folded(slate(), slate("again", AT + 500, same_as="r"), event(item="b", request="again"))
    assert (said.fresh, said.surface, len(said.matrix)) == ((0, 1), "home", 16)


def test_an_act_without_a_request_belongs_to_the_newest_slate_with_its_item():
    older, newer = slate("one", AT, "abc"), slate("two", AT + 10, "xb")
    _, [said] = folded(older, newer, event(item="b", request=None))
    assert said.request == join.digest("two", 8)
    assert folded(older, event(item="z", request=None))[1] == []
    assert folded(older, event(item="b", request=None, at=AT + join.WINDOW + 1))[1] == []


@pytest.mark.parametrize(
    "organic",
    [event(request="never"), event(item="z"), event("search", "a"), event("rating", "a", value=1.0)],
)
def test_what_no_slate_explains_is_organic(organic):
    assert folded(slate(), organic)[1] == []


def test_a_dislike_is_an_action_like_others():
    _, [said] = folded(slate(), event("hide", "a"))
    assert said.chosen == (("hide", 0),)


def test_the_same_act_twice_is_said_once():
    assert len(folded(slate(), event(), event(at=AT + 5000))[1]) == 1
    assert len(folded(slate(), event(), slate())[1]) == 1


def test_a_record_that_was_folded_is_not_folded_again():
    shown = Shown()
    fold(shown, slate(), 0)
    fold(shown, event(), 1)
    row = shown.row()
    assert fold(shown, slate(), 0) is None
    assert fold(shown, event("purchase", "f"), 1) is None
    assert shown.row() == row


def test_an_erasure_forgets_what_was_before_it_whichever_comes_first():
    erase = Event(event_id="x", type="erase", at=AT + 9000, user_id="u")
    for records in ((slate(), event(), erase), (erase, slate(), event())):
        shown, _ = folded(*records)
        assert (shown.showings, shown.acts) == ([], [])


def test_a_row_is_bounded():
    many = [slate(f"r{n}", AT + n, [f"i{n}-{k}" for k in range(100)]) for n in range(30)]
    acts = [event(item=f"i{n}-3", request=f"r{n % 40}", at=AT + n) for n in range(300)]
    shown, _ = folded(*many, *acts)
    assert len(shown.showings) == join.SHOWINGS
    assert len(shown.acts) == join.ACTS
    assert all(len(each.items) == join.PLACES for each in shown.showings)
    assert Shown.from_row(shown.row()).row() == shown.row()


some_slates = st.lists(
    st.builds(
        slate,
        st.sampled_from([f"r{n}" for n in range(12)]),
        st.integers(AT, AT + 50),
        st.permutations("abcdef"),
    ),
    max_size=14,
    unique_by=lambda one: one.request_id,
)
some_events = st.lists(
    st.builds(
        event,
        st.sampled_from(["impression", "click", "purchase", "hide", "search"]),
        st.sampled_from("abcdefg"),
        st.sampled_from([f"r{n}" for n in range(12)]),
        st.integers(AT, AT + 50),
    ),
    max_size=90,
)


@given(some_slates, some_events, st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_how_the_topics_interleave(slates, events, draw):
    rows = set()
    for _ in range(3):
        shown, left = Shown(), [list(enumerate(slates)), list(enumerate(events))]
        while any(left):
            origin, record = draw.choice([one for one in left if one]).pop(0)
            fold(shown, record, origin)
        rows.add(shown.row())
    assert len(rows) == 1


@given(some_slates.map(lambda many: many[: join.SHOWINGS]), some_events.map(lambda many: many[:40]))
def test_within_its_bounds_the_join_says_each_example_once_in_any_order(slates, events):
    both = [*slates, *events]
    orders = [both, [*events, *slates], random.Random(7).sample(both, len(both))]
    said = [ids(folded(*order)[1]) for order in orders]
    assert said[0] == said[1] == said[2]
    assert len(set(said[0])) == len(said[0])
