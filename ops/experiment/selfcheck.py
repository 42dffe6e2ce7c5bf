"""Self-check: experiments whose truth is known, drawn by the thousand and judged by the functions reports are made of.

In the drawn world users arrive day by day, are shown lists and click on some, the keen ones more, before the experiment
as after it, and come back: what is known of each grows until the last day. Every evening someone looks.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models import srm
from models.audience import users_needed
from models.comparison import chance_of, guarded, measured
from models.inference import difference, lift, score
from models.outcomes import Sheet
from models.power import POWER, size
from models.sequential import ALPHA, fixed_chance, fixed_reach, reach
from ops.experiment.duration import planned
from ops.progress import Begin, silent
from streams.experiments import Metric

RUNS = 10_000
LOOKS = 14  # one a day
UNITS = 1_000  # in a run without an effect
STACK = 200  # runs drawn at once
LIFT = 0.15  # of the effect that is to be found
RATE = 0.15  # clicks on a list
BACK = 0.5  # chance that someone comes back on a day
CORRELATION = 0.7  # of a measure with what was known before
AUDIENCE = 5_000  # users who compare two rankers
MARGIN, BROKEN = 0.05, -0.5  # harm that a guardrail bears, and that of an arm which does not work
CTR = Metric("click", "lists", primary=True, margin=MARGIN)

Floats = npt.NDArray[np.float64]
Draw = np.random.Generator


class Peeked(NamedTuple):
    """Shares of runs in which something was found: at any look, or at any by the p-value of one look, or at the end.

    `once_covers` and `always_cover` are the shares in which the interval for one look at the end, and the intervals of
    all looks, hold the true lift.
    """

    found: float
    found_peeking: float
    found_once: float
    once_covers: float
    always_cover: float


def selfcheck(runs: int = RUNS, seed: int = 1, progress: Begin = silent) -> dict[str, Any]:
    """Return the figures of so many runs without an effect, of a fifth as many with one, of a drawn audience."""
    draw = np.random.default_rng(seed)
    step = progress(6)
    same = peeked(draw, runs, UNITS, 0.0)
    step(1)
    units = designed(draw)
    effect = peeked(draw, runs // 5, units, LIFT)
    step(1)
    borne, broken = (stopped(draw, runs // 5, harm) for harm in (-MARGIN, BROKEN))
    step(1)
    alarms, found = ratios(draw, runs)
    step(1)
    left = cuped(draw, runs)
    step(1)
    users = users_needed(seed, min(AUDIENCE, runs))
    step(1)
    return {
        "runs": runs,
        "looks": LOOKS,
        "alpha": ALPHA,
        "aa_false_positive_rate": same.found,
        "aa_false_positive_rate_once": same.found_once,
        "aa_false_positive_rate_peeking_at_once": same.found_peeking,
        "power": POWER,
        "units_at_design": units,
        "power_at_design": effect.found,
        "ratio_interval_coverage": effect.once_covers,
        "always_valid_interval_coverage": effect.always_cover,
        "guardrail_false_stop_rate": borne,
        "guardrail_stop_rate": broken,
        "srm_alpha": srm.ALPHA,
        "srm_false_alarm_rate": alarms,
        "srm_found_rate": found,
        "cuped_variance_ratio": left,
        "cuped_variance_theory": 1 - CORRELATION**2,
        "interleaving_users_ratio": users.by_clicks_per_list / users.interleaved,
        "interleaving_users_ratio_of_clicks_per_user": users.by_clicks_per_user / users.interleaved,
    }


def wrong(figures: dict[str, Any]) -> list[str]:
    """Return, in words, every figure that is not as it must be; bounds are for `RUNS` runs."""
    bounds = {
        "aa_false_positive_rate": (0.0, ALPHA),
        "aa_false_positive_rate_once": (ALPHA - 0.01, ALPHA + 0.01),
        "power_at_design": (POWER, 1.0),
        "ratio_interval_coverage": (1 - ALPHA - 0.015, 1 - ALPHA + 0.015),
        "always_valid_interval_coverage": (1 - ALPHA, 1.0),
        "guardrail_false_stop_rate": (0.0, ALPHA),
        "guardrail_stop_rate": (0.95, 1.0),
        "srm_false_alarm_rate": (0.0, srm.ALPHA),
        "cuped_variance_ratio": (0.94 * (1 - CORRELATION**2), 1.06 * (1 - CORRELATION**2)),
        "interleaving_users_ratio": (10.0, np.inf),
    }
    return [
        f"{name}={figures[name]:.4g} is not within {low:.4g} and {high:.4g}"
        for name, (low, high) in bounds.items()
        if not low <= figures[name] <= high
    ]


def peeked(draw: Draw, runs: int, units: int, effect: float, rate: float = RATE) -> Peeked:
    """Return what daily looks find in runs of two arms, of which one clicks more by `effect` (relative)."""
    counts = np.zeros(5)
    for stack in _stacks(runs):
        control, other = arms(draw, stack, units, effect, rate)
        pair = measured(control, other, CTR)
        found = (chance_of(pair) < ALPHA) & ((score(pair) > 0) | (effect <= 0))
        peeking = fixed_chance(score(pair)) < ALPHA
        low, high = lift(pair, fixed_reach())[1:]
        once = (low <= effect) & (effect <= high)
        low, high = lift(pair, reach(pair.units))[1:]
        # without bounds, or before there is enough, an interval holds everything
        always = ~pair.enough | ~(low > effect) & ~(high < effect)
        counts += (
            found.any(axis=1).sum(),
            (peeking & pair.enough).any(axis=1).sum(),
            peeking[:, -1].sum(),
            once[:, -1].sum(),
            always.all(axis=1).sum(),
        )
    return Peeked(*(counts / runs).tolist())


def arms(draw: Draw, runs: int, units: int, effect: float, rate: float = RATE) -> tuple[Sheet, Sheet]:
    """Return two arms' sheets, their matrices (runs, looks, k + 1, k + 1), of `units` together."""
    arrives = draw.integers(0, LOOKS, (runs, units), dtype=np.int8)
    keen = draw.standard_gamma(4.0, (runs, units), dtype=np.float32) / 4
    before = draw.poisson(5 * keen).astype(np.float32)
    chance = rate * keen
    chance[:, units // 2 :] *= 1 + effect
    rows = np.zeros(
        (runs, 4, units), dtype=np.float32
    )  # 1, lists, click and pre.click: whole numbers, so exact
    grams: tuple[list[Floats], list[Floats]] = ([], [])
    for day in range(LOOKS):
        back, luck = draw.random((2, runs, units), dtype=np.float32)
        today = (arrives == day) | ((arrives < day) & (back < BACK * keen))
        rows[:, 0] = here = arrives <= day
        rows[:, 1] += today
        rows[:, 2] += today & (luck < chance)
        rows[:, 3] = before * here
        for held, half in zip(grams, (rows[..., : units // 2], rows[..., units // 2 :]), strict=True):
            held.append((half @ half.swapaxes(-1, -2)).astype(np.float64))
    one, other = (Sheet(("lists", "click", "pre.click"), np.stack(held, axis=1)) for held in grams)
    return one, other


def designed(draw: Draw) -> int:
    """Return how many units the calculator asks for to find the effect, from what 20,000 others did."""
    pilot, _ = arms(draw, 1, 40_000, 0.0)
    return size(*planned(Sheet(pilot.names, pilot.gram[0, -1]), CTR), LIFT).units


def stopped(draw: Draw, runs: int, effect: float) -> float:
    """Return the share of runs that a guardrail stops at any look."""
    found = 0
    for stack in _stacks(runs):
        pair = measured(*arms(draw, stack, UNITS, effect), CTR)
        found += (guarded(pair, CTR, ALPHA) < 0).any(axis=1).sum()
    return float(found / runs)


def ratios(draw: Draw, runs: int) -> tuple[float, float]:
    """Return the shares of runs called a mismatch by 500 looks at 20,000 units: of all, and with 6 % of an arm lost."""
    alarms = np.zeros(2)
    for stack in _stacks(runs):
        for place, lost in enumerate((0.0, 0.06)):
            units = draw.multinomial(40, [0.5, 0.5 * (1 - lost), 0.5 * lost], (stack, 500))[..., :2].cumsum(
                axis=1
            )
            alarms[place] += (srm.at_any_time(units, [1, 1]) < srm.ALPHA).any(axis=1).sum()
    false, found = (alarms / runs).tolist()
    return false, found


def cuped(draw: Draw, runs: int) -> float:
    """Return the variance of adjusted differences over that of plain ones, of a measure known in part before."""
    plain: list[Floats] = []
    adjusted: list[Floats] = []
    for stack in _stacks(runs):
        before, noise = draw.normal(size=(2, 2, stack, UNITS // 2))
        after = CORRELATION * before + (1 - CORRELATION**2) ** 0.5 * noise
        rows = np.stack([np.ones_like(after), after, before], axis=-1)
        control, other = (Sheet(("m", "pre.m"), one) for one in rows.swapaxes(-1, -2) @ rows)
        for held, covariate in ((plain, False), (adjusted, True)):
            pair = measured(control, other, Metric("m"), covariate=covariate)
            held.append(difference(pair, 0.0)[0])
    return float(np.var(np.concatenate(adjusted)) / np.var(np.concatenate(plain)))


def _stacks(runs: int) -> Iterator[int]:
    for done in range(0, runs, STACK):
        yield min(STACK, runs - done)
