"""Off-policy evaluation: what another configuration would be worth, told from slates that were logged.

Past requests are answered again from the state of their time (`ops.past.what_if`), each place drawn as it was shown;
the chance of that, beside the logged one, weighs what was done about it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from api.columns import Columns
from api.engine import Engine
from api.rankers import NONE_LIVE, Rankers
from api.state import State
from models.items import PRIOR_CTR
from models.join import WINDOW
from models.rings import digest
from models.surfaces import Config
from ops.judge.draws import AsShown, Chances
from ops.judge.sample import Place, Sample, Whole
from ops.past.engine import NONE, Moment, engine_of
from ops.past.replay import Ground
from ops.past.what_if import ALL, LATE, answerable, answered, slates_of, when
from ops.progress import Begin, silent
from streams import examples
from streams.errors import Refused
from streams.examples import Seen
from streams.experiments import Known
from streams.slates import Slate
from streams.times import written

Acted = set[tuple[bytes, int]]  # digests of requests, and places of their lists


class Judged:
    """A configuration whose engine draws lists as they were shown."""

    def __init__(self, config: Config, rankers: Rankers, slates: Mapping[str, Slate], moment: Moment) -> None:
        self._config, self._rankers, self._slates, self._moment = config, rankers, slates, moment

    def engine(self, state: State) -> Engine:
        """Return its engine on a state, whose `columns` are known from then on."""
        self.columns = state.columns
        self.draws = AsShown(self._slates, state.columns.slot_of)
        return engine_of(state, self._config, self._moment, rankers=self._rankers, draw=self.draws)


def ope(
    on: Ground, current: Config, other: Config, begin: int, until: int, *, surface: str = "", action: str = "click",
    rankers: Rankers = NONE_LIVE, known: Known = NONE, progress: Begin = silent,
) -> dict[str, Any]:  # fmt: skip
    """Judge another configuration by the slates of a span (ms), of one surface or of all, and what was done about them.

    What served is answered again under the experiments that are `known`, the other one under none. Raises Refused for
    an action that is not joined with slates and when the span is none, StateError where the log cannot be folded to
    there.
    """
    if not on.weights.get(action, 0.0) > 0:
        joined = ", ".join(sorted(name for name, weight in on.weights.items() if weight > 0))
        raise Refused(f"--action {action}: it is not joined with slates; there are {joined}")
    skipped: Counter[str] = Counter()
    asked = (
        slate
        for slate in slates_of(on, begin, until, skipped)
        if surface in ("", slate.surface)
        and answerable(slate, current, other, skipped)
        and _joined(slate, skipped)
    )
    chosen = {slate.request_id: slate for slate in sorted(asked, key=when)}
    acted = _acted(on, begin, until, action, skipped)
    then = Moment(known)
    mine, theirs = Judged(current, rankers, chosen, then), Judged(other, rankers, chosen, Moment())
    found: dict[str, Sample] = {ALL: Sample()}
    step = progress(len(chosen))

    def engines(state: State) -> list[Engine]:
        return [mine.engine(state), theirs.engine(state)]

    for slate, (again, judged) in answered(on, [*chosen.values()], engines, then):
        size = len(slate.items)
        chances = [*zip(theirs.draws.take(judged, size), mine.draws.take(again, size), strict=True)]
        places = [
            _place(slate, place, *each, acted, theirs.columns)
            for place, each in enumerate(chances)
            if slate.items[place].propensity < 1.0
        ]
        whole = _whole(slate, [each for each, _ in chances], acted, theirs.columns)
        if len(judged.items) != size:
            whole = whole._replace(weight=0.0)
        for name in (ALL, slate.surface):
            sample = found.setdefault(name, Sample())
            sample.places += places
            sample.lists.append(whole)
        step(1)
    return {
        "from": written(begin),
        "until": written(until),
        "action": action,
        "slates": len(chosen),
        "skipped": dict(sorted(skipped.items())),
        "surfaces": {name: one.report() for name, one in sorted(found.items())},
    }


def _place(
    slate: Slate, place: int, judged: Chances, again: Chances, acted: Acted, columns: Columns
) -> Place:
    shown = slate.items[place]
    slot = columns.slot_of.get(shown.item_id, -1)
    known = np.append(again.slots[again.chances > 0], slot)
    return Place(
        user=slate.user_id,
        reward=float((digest(slate.request_id, 8), place) in acted),
        logged=shown.propensity,
        judged=judged.of(slot),
        again=again.of(slot),
        unsupported=float(judged.chances[~np.isin(judged.slots, known)].sum()),
        guess=float(columns.ctr[slot]) if slot >= 0 else PRIOR_CTR,
        guesses=float(judged.chances @ columns.ctr[judged.slots]),
    )


def _whole(slate: Slate, judged: list[Chances], acted: Acted, columns: Columns) -> Whole:
    request = digest(slate.request_id, 8)
    weight = 1.0
    for chances, shown in zip(judged, slate.items, strict=True):
        weight *= chances.of(columns.slot_of.get(shown.item_id, -1)) / shown.propensity
    return Whole(slate.user_id, float(sum((request, place) in acted for place in range(len(judged)))), weight)


def _joined(slate: Slate, skipped: Counter[str]) -> bool:
    """Tell whether what was done about a slate is joined with it (`models.join`), and all its chances are logged."""
    reason = ""
    if not slate.user_id:
        reason = "asked for nobody: what was done about it is not joined"
    elif not slate.features:
        reason = f"ranked without features (rung {slate.rung}): what was done about it is not joined"
    elif slate.teams:
        reason = "interleaved: drawn from two rankings"
    if reason:
        skipped[reason] += 1
    return not reason


def _acted(on: Ground, begin: int, until: int, action: str, skipped: Counter[str]) -> Acted:
    """Return what was done about the slates of a span, as the users stage joined it."""
    found: Acted = set()
    ends = on.log.positions_at("examples", until + WINDOW + LATE)
    for number, start in on.log.positions_at("examples", begin - 1).items():
        for batch in on.log.read("examples", number, start, ends[number]):
            for record in batch:
                try:
                    said = examples.decode(record.value).said
                except Refused as refused:
                    skipped[f"cannot be read: {refused}"] += 1
                    continue
                for each in said:
                    if isinstance(each, Seen):
                        found.update((each.request, place) for kind, place in each.chosen if kind == action)
    return found


def text(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell a person what `ope` found."""
    yield f"{report['slates']} slates from {report['from']} to {report['until']}, {report['action']}"
    for reason, count in report["skipped"].items():
        yield f"  skipped {count}: {reason}"
    for name, one in report["surfaces"].items():
        reasons = f": {'; '.join(one['reasons'])}" if one["reasons"] else ""
        yield f"{name}: {one['verdict']}{reasons}"
        for title, unit in (
            ("by_place", f"{one['explored_places']} explored places"),
            ("by_list", f"{one['lists']} lists"),
        ):
            if title in one:
                yield from _told(unit, one[title])


def _told(unit: str, found: Mapping[str, Any]) -> Iterator[str]:
    support = (
        f", {found['unsupported']:.1%} unsupported, fidelity {found['fidelity']:.1%}"
        if "fidelity" in found
        else ""
    )
    yield (
        f"  {unit}, {found['effective']:.0f} effective, weights of {found['mean_weight']:.3f} on average, "
        f"{found['largest_weight']:.1f} at most{support}"
    )
    yield f"    logged         {_interval(found['logged'], 'value', 'low', 'high')}"
    for title, values in (("", found), (f" clipped at {found['clipped']['at']:.1f}", found["clipped"])):
        for name in ("ips", "snips", "doubly_robust"):
            if name in values:
                one = values[name]
                gain = _interval(one, "gain", "gain_low", "gain_high")
                yield f"    {name:14} {_interval(one, 'value', 'low', 'high')}, gain {gain}{title}"


def _interval(found: Mapping[str, float | None], *names: str) -> str:
    value, low, high = ("-" if found[name] is None else f"{found[name]:.5f}" for name in names)
    return f"{value} ({low} to {high})"
