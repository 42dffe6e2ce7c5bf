"""Laws of assignment: a hash decides, shares hold, experiments do not lean on each other."""

from hypothesis import given
from hypothesis import strategies as st

from models.experiments import HOLDOUT, Arm, Experiment, assign, bucket, overrides

UNITS = [f"user-{n}" for n in range(20_000)]


def two(**more):
    return Experiment(arms={"a": Arm(), "b": Arm(weight=3.0, set={"ttl_s": 1.0})}, **more)


@given(st.text(), st.text())
def test_a_bucket_is_stable_and_within_bounds(seed, unit):
    assert bucket(seed, unit) == bucket(seed, unit)
    assert 0.0 <= bucket(seed, unit) < 1.0


def test_arms_get_their_shares_and_every_unit_always_the_same():
    found = [assign(unit, {"e": two()})["e"] for unit in UNITS]
    assert found == [assign(unit, {"e": two()})["e"] for unit in UNITS]
    assert abs(found.count("b") / len(UNITS) - 0.75) < 0.01


def test_experiments_split_independently():
    pair = {"e": two(), "f": two()}
    arms = [assign(unit, pair) for unit in UNITS]
    both = sum(a["e"] == "b" and a["f"] == "b" for a in arms) / len(UNITS)
    assert abs(both - 0.75**2) < 0.015


def test_a_changed_seed_reshuffles():
    moved = sum(assign(u, {"e": two()}) != assign(u, {"e": two(seed="2")}) for u in UNITS) / len(UNITS)
    assert 0.3 < moved < 0.45


def test_a_share_takes_part_and_growing_it_moves_nobody():
    small = {u: assign(u, {"e": two(share=0.1)}) for u in UNITS}
    large = {u: assign(u, {"e": two(share=0.5)}) for u in UNITS}
    inside = [u for u in UNITS if small[u]]
    assert abs(len(inside) / len(UNITS) - 0.1) < 0.01
    assert all(large[u] == small[u] for u in inside)


def test_a_larger_holdout_contains_a_smaller_and_gets_no_treatment():
    pair = {"e": two(holdout=0.05), "f": two(holdout=0.2)}
    arms = [assign(unit, pair) for unit in UNITS]
    held = [a for a in arms if a["e"] == HOLDOUT]
    assert abs(len(held) / len(UNITS) - 0.05) < 0.01
    assert all(a["f"] == HOLDOUT for a in held)
    assert overrides({"e": HOLDOUT}, pair) == {}
    assert overrides({"e": "b"}, pair) == {"ttl_s": 1.0}


def test_targeting_and_the_off_switch():
    assert assign("u", {"e": two(enabled=False)}) == {}
    assert assign("u", {"e": two(surfaces=("home",))}, "cart") == {}
    assert set(assign("u", {"e": two(surfaces=("home",))}, "home")) == {"e"}


def test_an_arm_without_weight_gets_nobody():
    arms = {"a": Arm(weight=0.0), "b": Arm()}
    assert {assign(u, {"e": Experiment(arms=arms)})["e"] for u in UNITS[:500]} == {"b"}
