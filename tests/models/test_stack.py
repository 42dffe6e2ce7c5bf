import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import stack
from models.learned import FREE, STAGE, STAGES, Learned
from models.signals import SIGNALS, stage_of
from streams.examples import Choice
from tests.models.examples import choices, cycle, hashes, restored, said

NOBODY = np.zeros(0, np.int32)


@pytest.fixture(scope="module")
def learned():
    return said(cycle(40, 20))


def test_signals_have_a_column_for_each_name_and_are_finite(learned):
    after, every = learned.slots(("i3", "i2")), np.arange(40, dtype=np.int32)
    signals = stack.signals(learned, after, every)
    assert signals.shape == (40, len(SIGNALS))
    assert signals.dtype == np.float32
    assert np.isfinite(signals).all()


def test_a_candidate_has_the_same_relevance_whatever_it_is_ranked_with(learned):
    after, every = learned.slots(("i3", "i2")), np.arange(40, dtype=np.int32)
    scores = stack.relevance(learned, stack.signals(learned, after, every), 2)
    for slot in (0, 4, 39):
        alone = stack.signals(learned, after, np.array([slot], np.int32))
        assert stack.relevance(learned, alone, 2)[0] == scores[slot]


def test_without_a_trail_the_popular_come_first():
    learned = said([Choice(n, f"i{min(n % 10, 3)}", (), n, 1.0) for n in range(200)])
    every = np.arange(4, dtype=np.int32)
    scores = stack.relevance(learned, stack.signals(learned, NOBODY, every), 0)
    assert scores.argmax() == learned.slot_of["i3"]


def test_among_what_is_known_there_is_nothing_to_learn_but_among_the_rest():
    state, keys = said(cycle(40, 20)), [f"i{n}" for n in range(40)]
    trail, item = tuple(keys[19:9:-1]), keys[20]
    rest = [key for key in keys if key not in (*trail, item)]
    weights = state.common.weights[: stack.LINEAR].copy()
    for known, moves in ((rest, False), (rest[1:], True)):
        said([Choice(900, item, trail, 0, 1.0, len(keys), before=hashes(known))], state)
        assert (state.common.weights[: stack.LINEAR] != weights).any() == moves


def test_who_has_learned_nothing_answers_too():
    learned = Learned(8)
    assert stack.signals(learned, NOBODY, NOBODY).shape == (0, len(SIGNALS))
    assert stack.relevance(learned, stack.signals(learned, NOBODY, NOBODY), 0).shape == (0,)
    assert [len(part) for part in stack.neighbours(learned, NOBODY, 10)] == [0, 0]


@given(choices())
def test_stages_count_the_choices_of_people_who_know_as_many_items(examples):
    learned = said(examples)
    expected = dict.fromkeys(learned.slot_of, np.zeros(STAGES))
    for one in examples:
        stage = stage_of(one.known, len(one.after))
        if one.weight > 0 and stage != FREE:
            expected[one.item] = expected[one.item] + min(one.weight, 1.0) * np.eye(STAGES)[stage]
    for key, slot in learned.slot_of.items():
        np.testing.assert_allclose(learned.arrays.numbers[slot, STAGE : STAGE + STAGES], expected[key])
    np.testing.assert_allclose(learned.common.stages, sum(expected.values()))


def test_newcomers_get_what_newcomers_choose():
    early = [Choice(n, "early", (), n, 1.0) for n in range(0, 200, 2)]
    late = [Choice(n, "late", ("early",), n, 1.0, known=100) for n in range(1, 200, 2)]
    learned = said(sorted(early + late, key=lambda one: one.origin))
    both, column = learned.slots(("early", "late")), SIGNALS.index("stage")
    for known, first in ((0, 0), (100, 1)):
        told = stack.signals(learned, NOBODY, both, stage_of(known, 0))
        assert told[first, column] > 0 > told[1 - first, column]
        assert stack.relevance(learned, told, 0).argmax() == first
    assert not stack.signals(learned, NOBODY, both)[:, column].any()  # of someone of whom nothing is said


def test_neighbours_come_best_first_without_the_trail_itself(learned):
    after = learned.slots(("i3", "i2", "i1"))
    slots, strengths = stack.neighbours(learned, after, 12)
    assert len(slots) == 12
    assert (np.diff(strengths) <= 0).all()
    assert not set(slots.tolist()) & set(after.tolist())
    assert slots[0] == learned.slot_of["i4"]


def test_query_and_places_say_the_logit_of_the_embedding(learned):
    after, every = learned.slots(("i3", "i2")), np.arange(40, dtype=np.int32)
    logit = stack.signals(learned, after, every)[:, SIGNALS.index("embedding")]
    np.testing.assert_allclose(stack.places(learned, every) @ stack.query(learned, after), logit, atol=1e-5)


def test_a_replica_ranks_as_its_learner(learned):
    copy = restored(learned)
    after, every = learned.slots(("i3", "i2")), np.arange(40, dtype=np.int32)
    assert np.array_equal(stack.signals(learned, after, every), stack.signals(copy, after, every))


@given(
    st.lists(st.floats(0, 2.0**100, width=32) | st.sampled_from([0.0, 1.0, 2.0]), min_size=2, max_size=80),
    st.data(),
)
def test_the_nth_largest_is_that_of_the_sorted(values, data):
    n = data.draw(st.integers(1, len(values) - 1))
    assert stack.nth(np.array(values, np.float32), n) == np.float32(sorted(values)[-n])


def test_weights_are_learned_from_every_choice_at_first_and_ever_more_seldom():
    taught = [sum(stack.due(n) for n in range(first, first + 160)) for first in (0, 20_000, 1_000_000)]
    assert taught == [160, 26, 10]
