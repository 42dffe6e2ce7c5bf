import json

import msgspec
import numpy as np
import pytest

from models.outcomes import Sheet
from models.verdict import breaches, judge
from streams.experiments import BOTH, Arm, Definition, Metric, Record
from tests.models.sheets import drawn, sheet

CTR = Metric("click", "lists", primary=True)
NAMES = ("lists", "click", "click.any", "pre.click")


def record(metrics=None, arms=("a", "b"), weights=(), **said):
    held = {arm: Arm(weight) for arm, weight in zip(arms, weights or [1.0] * len(arms), strict=True)}
    tried = Definition(
        key="try",
        version=1,
        arms=held,
        control=arms[0],
        metrics={"ctr": CTR} if metrics is None else metrics,
        **said,
    )
    return Record(key="try", state="running", versions=(tried,))


def judged(said, *sheets, arms="abc"):
    report = judge(said, {(1, arm): one for arm, one in zip(arms, sheets, strict=False)}, at=0)
    told = msgspec.json.encode(report)
    assert "NaN" not in json.dumps(json.loads(told), allow_nan=True)
    assert msgspec.json.decode(told, type=type(report)) == report
    return report


@pytest.fixture
def draw():
    return np.random.default_rng(1)


def test_a_better_arm_is_found_and_by_how_much(draw):
    report = judged(record(), drawn(draw, 3_000), drawn(draw, 3_000, rate=0.3))
    (one,) = report.comparisons

    assert report.verdict == one.result == "better"
    assert one.lift_interval[0] < 0.5 < one.lift_interval[1]
    assert one.lift_interval[0] < one.lift_once[0] < one.lift_once[1] < one.lift_interval[1]
    assert one.p == one.p_corrected < 0.05
    assert one.covariates == ("pre.click",)
    assert one.variance_left < 0.95
    assert "'b' is better in 'ctr' by +" in report.words


def test_less_of_what_should_be_less_is_better(draw):
    metrics = {"ctr": Metric("click", "lists", "down", primary=True)}
    report = judged(record(metrics), drawn(draw, 3_000), drawn(draw, 3_000, rate=0.15))

    assert report.verdict == "better"


def test_equal_arms_leave_it_open(draw):
    report = judged(record(), drawn(draw, 3_000), drawn(draw, 3_000))

    assert report.verdict == "open"
    assert report.ratio.p > 0.5
    assert "no difference" in report.words


def test_a_mismatch_stops_every_other_verdict(draw):
    report = judged(record(), drawn(draw, 3_000), drawn(draw, 4_000, rate=0.4))

    assert report.verdict == "mismatch"
    assert report.ratio.mismatch
    assert report.comparisons[0].result == "better"
    assert "a 3000 of 3500" in report.words


def test_weights_are_what_counts_are_compared_with(draw):
    assert judged(record(weights=(3, 4)), drawn(draw, 3_000), drawn(draw, 4_000)).verdict == "open"


def test_units_that_keep_the_arms_of_other_weights_are_no_mismatch(draw):
    old, new = (record(weights=weights, sticky=True).current for weights in ((3, 4), (1, 1)))
    said = Record(key="try", state="running", versions=(msgspec.structs.replace(old, version=0), new))
    report = judged(said, drawn(draw, 3_000), drawn(draw, 4_000))

    assert report.ratio is None
    assert "not tested" in report.notes[0]


@pytest.mark.parametrize(("rate", "guard"), [(0.1, "breached"), (0.2, "open"), (0.3, "held")])
def test_a_guardrail_is_breached_by_sure_harm_alone(draw, rate, guard):
    said = record({"ctr": CTR, "clicks": Metric("click", margin=0.05)})
    sheets = drawn(draw, 2_000), drawn(draw, 2_000, rate=rate)
    report = judged(said, *sheets)
    found = breaches(said, {(1, "a"): sheets[0], (1, "b"): sheets[1]})

    assert report.comparisons[1].guard == guard
    assert (report.verdict == "breached") == bool(found) == (guard == "breached")
    assert all("guardrail 'clicks': arm 'b' differs by -" in words for words in found)


def test_a_guardrail_may_be_what_shall_not_grow(draw):
    said = record({"clicks": Metric("click", better="down", margin=0.1)})

    assert judged(said, drawn(draw, 2_000), drawn(draw, 2_000, rate=0.3)).verdict == "breached"
    assert judged(said, drawn(draw, 2_000), drawn(draw, 2_000, rate=0.1)).comparisons[0].guard == "held"


def test_an_arm_in_which_nothing_happens_any_more_breaches():
    said = record({"clicks": Metric("click", margin=0.05)})
    found = breaches(said, {(1, "a"): sheet(click=[1] * 100 + [0] * 200), (1, "b"): sheet(click=[0] * 300)})

    assert len(found) == 1


def test_secondary_metrics_pay_for_their_number_and_primary_ones_do_not(draw):
    metrics = {"ctr": CTR, "clicks": Metric("click"), "any": Metric("click.any")}
    first, *others = judged(record(metrics), drawn(draw, 1_000), drawn(draw, 1_000, rate=0.23)).comparisons

    assert first.p_corrected == first.p
    assert max(one.p_corrected for one in others) >= max(one.p for one in others)
    assert min(one.p_corrected for one in others) == pytest.approx(min(1, 2 * min(one.p for one in others)))


def test_of_several_arms_the_best_is_named(draw):
    report = judged(
        record(arms=("a", "b", "c")), drawn(draw, 3_000), drawn(draw, 3_000, 0.25), drawn(draw, 3_000, 0.3)
    )

    assert report.verdict == "better"
    assert "'c'" in report.words
    assert [one.arm for one in report.comparisons] == ["b", "c"]


def test_an_arm_without_weight_is_left_out(draw):
    report = judged(record(arms=("a", "b", "c"), weights=(1, 1, 0)), drawn(draw, 500), drawn(draw, 500))

    assert report.units == {"a": 500, "b": 500}
    assert report.verdict == "open"


def test_nobody_exposed_is_said():
    report = judged(record())

    assert report.verdict == "empty"
    assert report.ratio is None
    assert report.comparisons[0].reason == "arm 'a' has no units yet"


def test_items_are_summed_elsewhere():
    assert "summed from the log" in judged(record({}, unit="item")).words


def test_one_arm_alone_is_said(draw):
    report = judged(record(), drawn(draw, 20))

    assert report.verdict == "open"
    assert report.words == "arm 'b' has no units yet"


def test_few_units_are_said(draw):
    one = judged(record(), drawn(draw, 300), drawn(draw, 37)).comparisons[0]

    assert one.reason == "arm 'b' has 37 units; nothing is concluded below 100"
    assert one.control is not None
    assert one.p is one.lift is None


def test_no_metric_is_said(draw):
    assert "no metric is primary" in judged(record({}), drawn(draw, 300), drawn(draw, 300)).words


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (Metric("wink"), "'wink' is not measured in this experiment; there are: lists, click, none"),
        (Metric("none"), "no 'none' has been counted yet"),
        (Metric("click", "none"), "no 'none' has been counted in arm 'a' yet: it cannot be divided by"),
        (Metric("lists"), "all units have the same 'lists': nothing varies"),
        (Metric("click"), "too few units have 'click'; nothing is concluded below 20"),
        (
            Metric("wink", margin=0.1),
            "'wink' is not measured in this experiment; there are: lists, click, none",
        ),
        (Metric("loss", margin=0.1), "the control is not above 0: no harm is relative to it"),
    ],
)
def test_what_cannot_be_concluded_says_why(metric, reason):
    one = sheet(lists=[2] * 300, click=[1] * 8 + [0] * 292, none=[0] * 300)
    if metric.of == "loss":
        one = sheet(loss=[-1.0, -2.0] * 150)
    report = judged(record({"m": metric}), one, one)

    assert report.comparisons[0].reason == reason
    assert report.comparisons[0].result == "unknown"
    assert report.comparisons[0].guard in ("none", "open")
    assert breaches(record({"m": metric}), {(1, "a"): one, (1, "b"): one}) == []


def test_events_left_out_are_told():
    report = judged(record(), sheet(lists=[1], capped=[70]), sheet(lists=[1], capped=[5]))

    assert report.notes == ("events left out as repeats or beyond the rate: a 70, b 5",)


@pytest.mark.parametrize(
    ("wins", "losses", "verdict"), [(80, 30, "better"), (30, 80, "worse"), (50, 50, "open")]
)
def test_an_interleaved_experiment_goes_by_whom_users_prefer(wins, losses, verdict):
    both = sheet(lists=[1] * (wins + losses + 40), prefers=[1] * wins + [-1] * losses + [0] * 40)
    report = judged(record(kind="interleaved"), both, arms=[BOTH])
    found = report.preference

    assert report.verdict == verdict
    assert (found.arm, found.wins, found.losses, found.ties) == ("b", wins, losses, 40)
    assert found.interval[0] <= wins / (wins + losses) <= found.interval[1]
    assert found.p_once <= found.p


def test_an_interleaved_experiment_without_users_or_clicks_is_open():
    assert judged(record(kind="interleaved")).verdict == "empty"
    clickless = judged(record(kind="interleaved"), sheet(lists=[1] * 10, prefers=[0] * 10), arms=[BOTH])
    assert clickless.verdict == "open"
    assert clickless.preference.result == "unknown"
    assert judged(record(kind="interleaved"), Sheet.empty(NAMES), arms=[BOTH]).verdict == "empty"
