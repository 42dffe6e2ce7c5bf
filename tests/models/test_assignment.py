"""Laws of assignment: a hash decides, shares hold, no experiment leans on another, layers exclude each other."""

import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from models.assignment import Assigner
from models.lots import bucket, hasher
from models.surfaces import load
from models.units import Unit
from streams.errors import Refused
from streams.experiments import BOTH, Arm, Decision, Definition, Holdout, Known, Record, Step, Where

CONFIG = load()
UNITS = [f"user-{n}" for n in range(20_000)]
VARIED = {"diversity": 0.4}
NONE = Holdout()
SHORT = {"a": Arm(), "b": Arm(set={"ttl_s": 1.0})}


def tried(key="e", control="a", b=1.0, **more):
    more = {"arms": {"a": Arm(), "b": Arm(b, VARIED)}, "version": 1} | more
    return Definition(key=key, control=control, **more)


def known(*tried, holdout=NONE, state="running"):
    decided = (Decision(state, 0),)
    records = {one.key: Record(key=one.key, state=state, versions=(one,), decided=decided) for one in tried}
    return Known(records, holdout)


def assigner(*tried, now=100, **more):
    return Assigner(known(*tried, **more), CONFIG, now)


def arms(made, units=UNITS, **more):
    return [made.assign(Unit(unit, **more)).arms for unit in units]


def apart(rows, columns):
    """Return the chi-square of independence of two assignments and its degrees of freedom."""
    table = np.zeros((max(rows) + 1, max(columns) + 1))
    np.add.at(table, (rows, columns), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    return ((table - expected) ** 2 / expected).sum(), (table.shape[0] - 1) * (table.shape[1] - 1)


@given(st.text(), st.text())
def test_a_bucket_is_stable_and_within_bounds(seed, unit):
    assert bucket(seed, unit) == bucket(seed, unit)
    assert 0.0 <= bucket(seed, unit) < 1.0


def test_arms_get_their_shares_and_every_unit_always_the_same():
    made = assigner(tried(b=3.0))
    found = [one["e"] for one in arms(made)]
    assert found == [one["e"] for one in arms(assigner(tried(b=3.0)))]
    assert abs(found.count("b") / len(UNITS) - 0.75) < 0.01


def test_a_million_units_are_uniform_and_no_experiment_leans_on_another():
    units = [b"%d" % n for n in range(1_000_000)]
    one, other = (
        np.fromiter((place >> 60 for place, _ in map(hasher(seed), units)), np.int64, len(units))
        for seed in ("one", "two")
    )
    assert one[:100].tolist() == [int(bucket("one", str(n)) * 16) for n in range(100)]
    counts = np.bincount(one, minlength=16)
    assert chi2.sf(((counts - len(units) / 16) ** 2 / (len(units) / 16)).sum(), 15) > 0.001
    statistic, freedom = apart(one, other)
    assert freedom == 225
    assert chi2.sf(statistic, freedom) > 0.001


def test_experiments_split_independently():
    made = assigner(tried("e"), tried("f"), tried("g", ramp=(Step(1, 0.5),)))
    found = arms(made)
    sides = [np.array([{"a": 0, "b": 1, None: 2}[one.get(key)] for one in found]) for key in "efg"]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert chi2.sf(*apart(sides[one], sides[other])) > 0.001


def test_experiments_with_the_same_seed_split_independently_too():
    found = arms(assigner(tried("e", seed="1"), tried("f", seed="1")))
    assert 0.48 < sum(one["e"] == one["f"] for one in found) / len(UNITS) < 0.52


def test_every_process_assigns_alike():
    program = (
        "from models.assignment import Assigner\n"
        "from models.units import Unit\n"
        "from models.surfaces import load as load_config\n"
        "from streams.experiments import *\n"
        "arms = {'a': Arm(), 'b': Arm(1.0, {'diversity': 0.4})}\n"
        "one = Definition(key='e', control='a', arms=arms)\n"
        "other = Definition(key='f', control='a', arms=arms, layer='l', slice=(0.2, 0.7))\n"
        "known = Known({one.key: Record(key=one.key, versions=(one,), decided=(Decision('running', 0),))\n"
        "               for one in (one, other)}, Holdout(share=0.1))\n"
        "made = Assigner(known, load_config(), 100)\n"
        "print([made.assign(Unit(f'user-{n}')).arms for n in range(200)])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout  # fmt: skip
    made = assigner(tried("e"), tried("f", layer="l", slice=(0.2, 0.7)), holdout=Holdout(share=0.1))
    assert said == f"{arms(made, UNITS[:200])}\n"


def test_a_changed_seed_reshuffles():
    pairs = zip(arms(assigner(tried())), arms(assigner(tried(seed="2"))), strict=True)
    assert 0.48 < sum(one != other for one, other in pairs) / len(UNITS) < 0.52


def test_a_ramp_moves_nobody_and_tells_when_it_goes_on():
    ramp = (Step(10, 0.1), Step(20, 0.5))
    before, small, large = (assigner(tried(ramp=ramp), now=now) for now in (5, 10, 25))
    assert (before.until, small.until, large.until) == (10, 20, None)
    assert not any(arms(before))
    few, many = arms(small), arms(large)
    assert abs(sum(map(bool, few)) / len(UNITS) - 0.1) < 0.01
    assert abs(sum(map(bool, many)) / len(UNITS) - 0.5) < 0.01
    assert all(one == other for one, other in zip(few, many, strict=True) if one)


def test_slices_of_a_layer_exclude_each_other_and_divide_all():
    parts = (tried("e", layer="l", slice=(0.0, 0.25)), tried("f", layer="l", slice=(0.25, 1.0)))
    found = arms(assigner(*parts))
    assert all(len(one) == 1 for one in found)
    assert abs(sum("e" in one for one in found) / len(UNITS) - 0.25) < 0.01


def test_a_larger_holdout_contains_a_smaller_and_neither_tries_nor_explores():
    small, large = (assigner(tried(), holdout=Holdout(share=share)) for share in (0.05, 0.2))
    out = [made.assign(Unit(unit)).held for made in (small, large) for unit in UNITS]
    few, many = out[: len(UNITS)], out[len(UNITS) :]
    assert abs(sum(few) / len(UNITS) - 0.05) < 0.01
    assert all(many[n] for n, held in enumerate(few) if held)
    held = small.assign(Unit(UNITS[few.index(True)]))
    assert (held.arms, held.exposures, held.surface.explore.slots) == ({}, (), 0)


@pytest.mark.parametrize(
    ("where", "unit", "concerned"),
    [
        (Where(context={"country": ("de", "at")}), {"context": {"country": "at"}}, True),
        (Where(context={"country": ("de", "at")}), {"context": {"country": "fr"}}, False),
        (Where(context={"country": ("de", "at")}), {}, False),
        (Where(profile={"plan": ("pro",)}), {"profile": {"plan": "pro"}}, True),
        (Where(profile={"plan": ("pro",)}), {"profile": {"plan": "free"}}, False),
        (Where(min_events=5), {"events": 4}, False),
        (Where(min_events=5), {"events": 5}, True),
        (Where(max_events=5), {"events": 6}, False),
    ],
)
def test_targeting(where, unit, concerned):
    assert bool(assigner(tried(where=where)).assign(Unit("u", **unit)).arms) == concerned


def test_surfaces_limit_and_an_unknown_one_is_refused():
    made = assigner(tried(surfaces=("cart",)))
    assert not made.assign(Unit("u")).arms
    assert made.assign(Unit("u", surface="cart")).arms
    with pytest.raises(Refused, match=r"'nowhere' is not configured; there are cart, email"):
        made.assign(Unit("u", surface="nowhere"))


@pytest.mark.parametrize("state", ["draft", "stopped", "killed"])
def test_what_does_not_run_assigns_nobody(state):
    assert not any(arms(assigner(tried(), state=state), UNITS[:50]))


def test_nobody_is_assigned_nothing():
    assert assigner(tried()).assign(Unit("")).arms == {}


def test_an_arm_lays_its_parameters_over_the_surface():
    made = assigner(tried(), tried("f", arms={"a": Arm(), "b": Arm(set={"tier": "full", "model": "other"})}))
    found = {tuple(one.arms.items()): one.surface for one in (made.assign(Unit(unit)) for unit in UNITS[:99])}
    assert len(found) == 4
    for (one, other), surface in found.items():
        assert (surface.diversity == 0.4) == (one == ("e", "b"))
        assert (surface.tier, surface.model == "other") == (
            ("full", True) if other == ("f", "b") else ("light", False)
        )
        assert surface.quotas == CONFIG.surfaces["home"].quotas


def test_an_arm_without_weight_gets_nobody():
    none = {"a": Arm(weight=0.0), "b": Arm(), "c": Arm(weight=0.0)}
    assert {one["e"] for one in arms(assigner(tried(arms=none)), UNITS[:500])} == {"b"}


def test_exposed_is_who_could_have_been_shown_another_list():
    same = tried("same", arms={"a": Arm(), "b": Arm(set={"diversity": CONFIG.surfaces["home"].diversity})})
    found = assigner(same, tried("other", arms=SHORT)).assign(Unit("u"))
    assert set(found.arms) == {"same", "other"}
    (exposure,) = found.exposures
    assert (exposure.experiment, exposure.version, exposure.arm) == ("other", 1, found.arms["other"])
    assert exposure.measures == ("lists",)


def test_counterfactual_exposure_knows_what_else_would_have_been_shown():
    three = {"a": Arm(), "b": Arm(set=VARIED), "c": Arm(set=VARIED), "d": Arm(set={"diversity": 0.9})}
    made = assigner(tried(arms=three, counterfactual=True))
    for unit in UNITS[:20]:
        found = made.assign(Unit(unit))
        others = {one.diversity for one in found.others["e"]}
        assert others == {0.1, 0.4, 0.9} - {found.surface.diversity}


def test_a_forced_arm_is_shown_and_never_exposed():
    made = assigner(tried(), tried("f", arms=SHORT), holdout=Holdout(share=1.0))
    for arm in "ab":
        found = made.assign(Unit("u", forced={"e": arm}))
        assert found.arms["e"] == arm
        assert [one.experiment for one in found.exposures] == ["f"]
    with pytest.raises(Refused, match="has no arm 'c'; it has a, b"):
        made.assign(Unit("u", forced={"e": "c"}))
    with pytest.raises(Refused, match="that runs or is a draft is called 'g'; there are: e, f"):
        made.assign(Unit("u", forced={"g": "a"}))


def test_the_arms_of_a_draft_can_be_forced_where_it_would_be():
    made = assigner(tried("e", surfaces=("cart",)), state="draft")
    with pytest.raises(Refused, match="'e' is not on 'home', but on cart"):
        made.assign(Unit("u", forced={"e": "b"}))
    found = made.assign(Unit("", surface="cart", forced={"e": "b"}))
    assert (found.arms, found.surface.diversity, found.exposures) == ({"e": "b"}, 0.4, ())
    both = assigner(tried(kind="interleaved"))
    assert both.assign(Unit("u", forced={"e": "b"})).interleaved is None
    assert both.assign(Unit("u", forced={"e": BOTH})).interleaved is not None


def test_a_sticky_version_keeps_the_arms_of_the_one_before():
    first = {unit: one["e"] for unit, one in zip(UNITS, arms(assigner(tried())), strict=True)}
    for sticky in (True, False):
        made = assigner(tried(seed="2", version=2, sticky=sticky))
        kept = [
            made.assign(Unit(unit, before={"e": (1, arm)})).arms["e"] == arm for unit, arm in first.items()
        ]
        assert all(kept) == sticky
    gone = assigner(tried(sticky=True)).assign(Unit("u", before={"e": (1, "c")}))
    assert gone.arms["e"] in "ab"


def test_a_session_is_assigned_by_itself_and_exposed_as_such():
    made = assigner(tried(unit="session"))
    found = {made.assign(Unit("u", session=f"s{n}")).arms["e"] for n in range(20)}
    assert found == {"a", "b"}
    assert made.assign(Unit("u", session="s1")).exposures[0].unit == "s1"
    assert made.assign(Unit("session:x")).exposures[0].unit == ""


def test_an_interleaved_experiment_merges_two_lists_and_no_second_one_joins():
    made = assigner(
        tried(kind="interleaved", control="b"), tried("f", kind="interleaved"), tried("g", arms=SHORT)
    )  # fmt: skip
    found = made.assign(Unit("u"))
    assert found.arms == {"e": BOTH, "g": found.arms["g"]}
    assert found.between == "e"
    assert [one.diversity for one in found.interleaved] == [0.4, 0.1]
    told = {one.experiment: (one.arm, one.measures) for one in found.exposures}
    assert told == {"e": (BOTH, ("lists", "prefers")), "g": (found.arms["g"], ("lists",))}


def test_items_have_arms_too():
    boosted = {"a": Arm(), "b": Arm(set={"boost": 1.5})}
    made = assigner(tried(unit="item", surfaces=("home",), arms=boosted), tried("f"))
    items = [f"i{n}" for n in range(1000)]
    factors = made.item_factors(items, "home")
    assert factors.dtype == np.float32
    assert set(factors.tolist()) == {1.0, 1.5}
    assert 0.45 < (factors > 1).mean() < 0.55
    assert factors[:10].tolist() == made.item_factors(items[:10], "home").tolist()
    assert made.item_factors(items, "cart") is None
    assert set(made.assign(Unit("u")).arms) == {"f"}
    part = assigner(tried(unit="item", layer="l", slice=(0.0, 0.1), arms=boosted)).item_factors(items, "home")
    assert 0.02 < (part > 1).mean() < 0.09


def test_what_the_configuration_has_no_place_for_is_refused_and_the_rest_runs():
    made = assigner(
        tried("e", surfaces=("gone",)), tried("f", arms={"a": Arm(), "b": Arm(set={"x": 1})}), tried("g")
    )
    assert set(made.assign(Unit("u")).arms) == {"g"}
    assert "gone" in made.refused["e"]
    none = assigner(
        tried("e", arms={"a": Arm(0.0)}), tried("f", kind="interleaved", arms={"a": Arm()}), tried("g")
    )
    assert set(none.assign(Unit("u")).arms) == {"g"}
    assert none.refused == {
        "e": "no arm has a weight; its arms are a",
        "f": "its arms a are not the control 'a' and another",
    }
    assert "`x`" in made.refused["f"]


def test_what_is_met_says_why():
    made = assigner(
        tried("drawn"), tried("layered", layer="l", slice=(0.0, 0.001)), tried("ramped", ramp=(Step(1, 0.0),)),
        tried("where", where=Where(min_events=1)), tried("sticky", sticky=True),
    )  # fmt: skip
    assert {key: why for key, _, why in made.met(Unit("u", before={"sticky": (3, "a")}))} == {
        "drawn": "drawn by the hash",
        "layered": "outside its slice of the layer",
        "ramped": "the ramp is not there yet",
        "sticky": "kept from version 3",
        "where": "not targeted",
    }
    held = assigner(tried(), holdout=Holdout(share=1.0))
    assert list(held.met(Unit("u"))) == [("holdout", "", "in the global holdout")]


def test_every_combination_is_one_object():
    made = assigner(tried("e"), tried("f"))
    found = {}
    for unit, surface in product(UNITS[:100], ("home", "cart")):
        one = made.assign(Unit(unit, surface=surface))
        assert found.setdefault((surface, *one.arms.items()), one) is one
