"""What can be told of a sample, and when it is said that nothing can."""

import json

import numpy as np
import pytest

from ops.judge.sample import Place, Sample, Whole


def sample(draw, n=2_000, good=0.5, unsupported=0.0, logged=0.5, users=200, again=1.0):
    """Return lists of one place, at which a good or a bad item was shown by a coin; `good` is its chance now."""
    made = Sample()
    for k in range(n):
        best = draw.random() < logged
        reward, chance = float(draw.random() < (0.3 if best else 0.1)), logged if best else 1.0 - logged
        judged = (good if best else 1.0 - good) * (1.0 - unsupported)
        user = f"user-{k % users}"
        made.places.append(Place(user, reward, chance, judged, again * chance, unsupported, 0.2, 0.2))
        made.lists.append(Whole(user, reward, judged / chance))
    return made.report()


@pytest.mark.parametrize(("good", "verdict"), [(0.9, "better"), (0.1, "worse"), (0.5, "no difference found")])
def test_a_difference_is_told_where_there_is_one(good, verdict):
    found = sample(np.random.default_rng(1), good=good)
    assert (found["verdict"], found["reasons"]) == (verdict, [])
    truth = 0.3 * good + 0.1 * (1 - good)
    for part in ("by_place", "by_list"):
        for name in ("ips", "snips"):
            one = found[part][name]
            assert one["low"] < truth < one["high"]
            assert one["gain"] == pytest.approx(one["value"] - found[part]["logged"]["value"], abs=1e-5)
            assert one["gain_low"] - 1e-9 <= truth - 0.2 <= one["gain_high"] + 1e-9
    assert "doubly_robust" not in found["by_list"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"unsupported": 0.2}, "20.0% of what it would show there was never shown"),
        ({"n": 90}, "tell as much as 90 shown by itself"),
        ({"good": 1.0, "logged": 0.01, "n": 1_000}, "tell as much as"),
        ({"n": 20}, "of the places were acted on"),
        ({"users": 1}, "all of it was shown to one user"),
        ({"again": 0.5}, "only 0.0% of the logged chances are hit again"),
    ],
)
def test_too_little_support_is_said_with_its_reason(values, reason):
    found = sample(np.random.default_rng(2), **values)
    assert found["verdict"] == "too little support"
    assert any(reason in said for said in found["reasons"])


def test_a_few_lists_of_one_user_have_values_and_no_interval():
    found = sample(np.random.default_rng(3), n=5, users=1)
    assert found["by_place"]["ips"]["low"] is None
    assert found["by_place"]["ips"]["value"] is not None
    json.dumps(found, allow_nan=False)
