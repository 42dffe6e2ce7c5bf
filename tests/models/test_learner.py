import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models import stack
from models.learned import FREE, Learned
from models.learner import Learner
from models.signals import WIDTH
from streams.examples import Choice
from tests.models.examples import DIMENSIONS, choices, cycle, restored, rows_of, said


@settings(max_examples=25, deadline=None)
@given(choices(), st.data())
def test_a_state_saved_and_restored_anywhere_goes_on_as_if_it_never_was(examples, data):
    cut = data.draw(st.integers(0, len(examples)))
    kept = restored(said(examples[:cut]))
    assert rows_of(said(examples[cut:], kept)) == rows_of(said(examples))


@settings(max_examples=25, deadline=None)
@given(choices())
def test_only_rows_it_tells_of_are_changed(examples):
    learned = Learned(DIMENSIONS)
    learner = Learner(learned)
    for example in examples:
        before = rows_of(learned)
        learner.learn(example)
        told = {learned.keys[slot] for slot in learner.changed()} | {""}
        changed = {key for key, row in rows_of(learned).items() if before.get(key) != row}
        assert changed <= told
        assert not len(learner.changed())


@settings(max_examples=25, deadline=None)
@given(choices())
def test_choices_are_counted_and_never_uncounted(examples):
    learned = Learned(DIMENSIONS)
    learner = Learner(learned)
    for example in examples:
        before = learned.chosen.copy()
        learner.learn(example)
        grown = learned.chosen[: len(before)] - before
        assert (grown >= 0).all()
    likes = sum(min(example.weight, 1.0) for example in examples if example.weight > 0)
    assert learned.chosen.sum() == likes
    assert learned.common.choices == sum(example.weight > 0 for example in examples)


def test_what_always_comes_next_is_the_first_that_is_suggested():
    learned = said(cycle(30, 30))
    after = learned.slots(("i4", "i3", "i2", "i1"))
    every = np.arange(30, dtype=np.int32)
    scores = stack.relevance(learned, stack.signals(learned, after, every), len(after))
    others = np.setdiff1d(every, after)
    assert others[scores[others].argmax()] == learned.slot_of["i5"]


def test_a_dislike_lowers_the_item_for_such_a_trail():
    learned = said(cycle(30, 10))
    after, item = learned.slots(("i4", "i3")), learned.slots(("i5",))
    before = stack.relevance(learned, stack.signals(learned, after, item), 2)
    said([Choice(1, "i5", ("i4", "i3"), 1_700_000_000_000, -3.0)], learned)
    assert stack.relevance(learned, stack.signals(learned, after, item), 2) < before


def test_whatever_is_said_all_numbers_stay_finite():
    hostile = [
        Choice(
            n, f"i{n % 3}", ("i7",) if n % 2 else (), 4_102_444_800_000 if n % 5 else 0, (1e30, -1e30)[n % 2]
        )
        for n in range(500)
    ]
    learned = said(hostile)
    for array in (learned.into, learned.out, learned.arrays.numbers, learned.common.weights):
        assert np.isfinite(array).all()


def test_recent_choices_are_the_last_that_were_made():
    learned = said([Choice(n, f"i{n % 7}", (), n, 1.0) for n in range(20)])
    ring = learned.common.ring
    assert ring[ring != FREE].tolist() == [learned.slot_of[f"i{n % 7}"] for n in range(20)]


def test_two_chosen_one_after_the_other_come_near_in_both_directions():
    often = [Choice(n, "b", ("a",), n, 1.0) for n in range(30)]  # never a after b
    learned = said([Choice(900 + n, f"i{n}", (), n, 1.0) for n in range(20)])
    said(often, learned)
    for one, other in ("ab", "ba"):
        query = stack.query(learned, learned.slots((one,)))
        logits = stack.places(learned, np.arange(len(learned.keys))) @ query
        logits[learned.slots((one,))] = -np.inf
        assert learned.keys[int(logits.argmax())] == other


def test_what_newcomers_choose_teaches_what_to_show_them():
    learned = said([Choice(n, "often" if n % 3 else f"i{n % 7}", (), n, 1.0) for n in range(300)])
    weights = learned.common.weights[: stack.LINEAR].reshape(-1, WIDTH)
    assert np.abs(weights[1]).any()  # those of an empty trail
    every = np.arange(len(learned.keys), dtype=np.int32)
    scores = stack.relevance(learned, stack.signals(learned, learned.slots(()), every), 0)
    assert learned.keys[int(scores.argmax())] == "often"


def test_what_was_known_before_is_counted_and_teaches_no_weights():
    learned = said(cycle(20, 5))
    weights, chosen = learned.common.weights.copy(), learned.chosen.sum()
    said([Choice(1000, "i5", ("i4", "i3"), 1_700_000_000_000, 1.0, known=20, again=True)], learned)
    assert np.array_equal(learned.common.weights, weights)
    assert learned.chosen.sum() == chosen + 1
    said([Choice(1001, "i5", ("i4", "i3"), 1_700_000_000_000, 1.0, known=20)], learned)
    assert not np.array_equal(learned.common.weights, weights)
