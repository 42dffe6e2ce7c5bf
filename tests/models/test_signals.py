import numpy as np
import pytest

from models import stack
from models.signals import SIGNALS
from tests.models.examples import cycle, said


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_embedding_looks_at_a_trail_in_several_ways(count):
    learned = said(cycle(40, 20))
    after, every = learned.slots(tuple(f"i{n}" for n in range(count))), np.arange(40, dtype=np.int32)
    told = dict(zip(SIGNALS, stack.signals(learned, after, every).T, strict=True))
    into, out = learned.into[after], learned.out[after]
    both, places = (into + out).astype(np.float64), learned.out.astype(np.float64)
    newest = both[:5]
    expected = {
        "embedding_last": places @ unit(0.5 ** np.arange(len(newest)) @ newest),
        "embedding_whole": places @ unit(both.sum(axis=0)),
        "embedding_best": np.max([places @ unit(one) for one in both[:10]], axis=0),
        "embedding_like": places @ unit(0.8 ** np.arange(len(out[:10])) @ out[:10]),
        "embedding_bias": learned.bias,
        "embedding_norm": np.linalg.norm(places, axis=1),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(told[name], values, atol=1e-4, err_msg=name)


def test_without_a_trail_the_embedding_says_only_what_an_item_is():
    learned = said(cycle(20, 5))
    told = stack.signals(learned, np.zeros(0, np.int32), np.arange(20, dtype=np.int32))
    for name in ("embedding_last", "embedding_whole", "embedding_best", "embedding_like"):
        assert not told[:, SIGNALS.index(name)].any()
    assert told[:, SIGNALS.index("embedding_norm")].all()


def test_the_embedding_looks_at_what_was_before_the_trail():
    learned = said(cycle(40, 20))
    after, every = learned.slots(("i0", "i1")), np.arange(40, dtype=np.int32)
    before = learned.slots(tuple(f"i{n}" for n in range(5, 12)))
    told = dict(zip(SIGNALS, stack.signals(learned, after, every, before=before).T, strict=True))
    into, out, places = learned.into[before], learned.out[before], learned.out.astype(np.float64)
    np.testing.assert_allclose(told["embedding_before"], places @ unit((into + out).sum(axis=0)), atol=1e-4)
    np.testing.assert_allclose(told["embedding_before_like"], places @ unit(out.sum(axis=0)), atol=1e-4)
    alone = dict(zip(SIGNALS, stack.signals(learned, after, every).T, strict=True))
    assert not alone["embedding_before"].any()
    for name in ("embedding", "embedding_whole", "embedding_best", "chosen"):
        np.testing.assert_array_equal(told[name], alone[name])


def test_counts_are_measured_by_what_is_not_known_yet():
    learned = said(cycle(40, 20))
    after, near = learned.slots(("i20", "i19")), learned.slots(("i21", "i22"))
    column = SIGNALS.index("alike")
    nearest, second = stack.signals(learned, after, near)[:, column]
    assert second < nearest == 1.0
    known, second = stack.signals(learned, after, near, before=near[:1])[:, column]
    assert known == 1.0  # more than all of what may be shown
    assert second > 0.9
    slots, _ = stack.neighbours(learned, after, 40, near[:1])
    assert near[1] in slots
    assert near[0] not in slots


def test_counts_tell_each_of_the_newest_apart():
    learned = said(cycle(40, 20))
    after = learned.slots(("i30", "i10"))
    told = stack.signals(learned, after, learned.slots(("i31", "i11", "i20"))).T
    named = dict(zip(SIGNALS, told, strict=True))
    assert named["alike_first"][0] == pytest.approx(
        np.log(1.01), abs=1e-4
    )  # what is chosen right beside the newest
    assert named["alike_second"][1] == pytest.approx(np.log(1.01), abs=1e-4)
    assert named["alike_first"][0] > named["alike_first"][1]
    assert named["alike_second"][1] > named["alike_second"][0]
    assert (named["alike_third"] == named["alike_third"].min()).all()  # there is none
    np.testing.assert_allclose(named["times"], [2 / 20, 2 / 20, 2 / 20])
