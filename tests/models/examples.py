"""Examples for the tests of what is learned."""

from hypothesis import strategies as st

from models.learned import COMMON, Learned
from models.learner import Learner
from models.users import seen_hash
from streams.examples import Choice

DIMENSIONS = 8


@st.composite
def choices(draw, most=40, items=12):
    """Some people's choices among a dozen items, a few of them dislikes."""
    keys = [f"i{n}" for n in range(items)]
    after = st.lists(st.sampled_from(keys), unique=True, max_size=20)
    examples = []
    for origin in range(draw(st.integers(1, most))):
        item = draw(st.sampled_from(keys))
        trail = tuple(key for key in draw(after) if key != item)
        weight = draw(st.sampled_from([0.5, 1.0, 5.0, -3.0]))
        known = draw(st.integers(0, 400))
        before = hashes(draw(st.lists(st.sampled_from([*keys, "never met"]), unique=True)))
        at = 1_700_000_000_000 + origin * 1000
        examples.append(Choice(origin, item, trail, at, weight, known, before=before))
    return examples


def hashes(keys):
    """Return what users remember of items, the last one last."""
    return b"".join(map(seen_hash, keys))


def said(examples, learned=None):
    """Return the state after the examples."""
    learned = Learned(DIMENSIONS) if learned is None else learned
    learner = Learner(learned)
    for example in examples:
        learner.learn(example)
    return learned


def rows_of(learned):
    """Return every row by key."""
    rows = {key: learned.row(slot) for key, slot in learned.slot_of.items()}
    return {**rows, COMMON: learned.common.row()}


def restored(learned):
    """Return the state that its rows tell."""
    copy = Learned(learned.dimensions)
    for key, row in rows_of(learned).items():
        copy.put(key, row)
    return copy


def cycle(items, rounds, start=0):
    """Return choices of someone who goes round the items, always in the same order."""
    keys = [f"i{n}" for n in range(items)]
    for n in range(start, start + rounds * items):
        trail = tuple(keys[(n - back) % items] for back in range(1, min(n, items - 1, 20) + 1))
        yield Choice(n, keys[n % items], trail, 1_700_000_000_000 + n * 1000, 1.0)
