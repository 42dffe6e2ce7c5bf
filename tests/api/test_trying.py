"""Laws of experiments in a request: arms change it, exposures tell what was seen, and nothing of it can break it."""

import logging
from collections import Counter
from math import prod

import msgspec
import numpy as np
import pytest

from api.answers import Answer, Request
from api.drafted import drafted
from api.funnel import Ranked
from models.assignment import Assigner
from models.interleaving import credit
from models.surfaces import parse
from streams import slates
from streams.errors import Refused
from streams.events import Event
from streams.experiments import Arm, Decision, Definition, Holdout, Known, Record, Where
from tests.api.test_engine import FAKE, NOW, Clock, click, engine_of, ids, shop

CONFIG = parse({"surfaces": {"home": {"max_per_category": 0, "explore": {"slots": 0}}}})
ARMS = {"old": Arm(), "new": Arm(set={"seen": "keep"})}


class Board:
    """Experiments that a test may change."""

    def __init__(self, *definitions, holdout=0.0, config=CONFIG):
        self.config = config
        self.run(*definitions, holdout=holdout)

    def run(self, *definitions, holdout=0.0):
        records = {
            one.key: Record(key=one.key, state="running", versions=(one,), decided=(Decision("running", 0),))
            for one in definitions
        }
        self.assigner = Assigner(Known(records, Holdout(share=holdout)), self.config, NOW)


def tried(key="seen", arms=ARMS, **more):
    return Definition(key=key, arms=arms, control=next(iter(arms)), **more)


def exposures(engine, served):
    found = engine.shown(served)
    if found is None:
        return ()
    at, exposed = found
    assert at == NOW
    exposed.settle()
    return exposed.exposures


def asked(engine, n=40, length=20, **more):
    return [engine.recommend(Request(at=NOW, user_id=f"u{u}", n=length, **more)) for u in range(n)]


def test_an_arm_overrides_whatever_parameter_of_its_surface():
    arms = {"old": Arm(), "new": Arm(set={"pins": {"i70": 1}, "quotas": {"ann": 0}, "explore": {"slots": 2}})}
    engine = engine_of(FAKE, CONFIG, experiments=Board(tried(arms=arms)))
    first: dict[bool, set[str]] = {True: set(), False: set()}
    for answer in asked(engine, explain=True):
        new = answer.arms == {"seen": "new"}
        first[new].add(answer.items[0].item_id)
        assert ("ann" in answer.counts) != new or answer.rung != "full"
        assert answer.experiments["seen"] == f"{answer.arms['seen']}: drawn by the hash"
    assert first[True] == {"i70"}
    assert len(first[False]) > 1


def test_an_answer_is_an_exposure_once_and_so_is_every_time_it_is_served_again():
    engine = engine_of(FAKE, CONFIG, experiments=Board(tried(), tried("same", {"a": Arm(), "b": Arm()})))
    request = Request(at=NOW, user_id="u3")
    answer, hit, again = engine.recommend(request), engine.cached(request), engine.recommend(request)
    assert again.rung == "cached"
    assert msgspec.json.decode(hit.body, type=Answer).arms == answer.arms
    for served in (hit, answer, again):
        (exposure,) = exposures(engine, served)
        assert (exposure.experiment, exposure.arm) == ("seen", answer.arms["seen"])
        assert exposure.measures == ("lists",)
        assert exposures(engine, served) == ()
    assert set(answer.arms) == {"seen", "same"}  # but nothing that "same" sets differs


def test_nobody_without_an_id_is_exposed():
    engine = engine_of(FAKE, CONFIG, experiments=Board(tried()))
    for answer in (
        engine.recommend(Request(at=NOW)),
        engine.popular(at=NOW),
        engine.similar("i3", at=NOW, surface="home"),
    ):
        assert not answer.arms
        assert exposures(engine, answer) == ()


def test_the_list_of_an_arm_that_was_stopped_is_not_served_again():
    board = Board(tried())
    engine = engine_of(FAKE, CONFIG, experiments=board)
    request = Request(at=NOW, user_id="u3")
    engine.recommend(request)
    assert engine.cached(request).first.arms
    board.run()
    assert engine.cached(request) is None
    assert not engine.recommend(request).arms


def test_forced_arms_are_said_and_are_neither_exposed_nor_kept():
    engine = engine_of(FAKE, CONFIG, experiments=Board(tried()))
    request = Request(at=NOW, user_id="u3", explain=True)
    drawn = engine.recommend(request).arms["seen"]
    other = {"old": "new", "new": "old"}[drawn]
    forced = msgspec.structs.replace(request, explain=False, forced={"seen": other})
    answer = engine.recommend(forced)
    assert (answer.arms, answer.forced) == ({"seen": other}, ("seen",))
    assert exposures(engine, answer) == ()
    assert engine.slate(answer).forced == ("seen",)
    assert engine.cached(forced) is None
    assert engine.recommend(Request(at=NOW, user_id="u3")).rung != "cached"
    with pytest.raises(Refused, match="no arm 'third'"):
        engine.recommend(Request(at=NOW, user_id="u3", forced={"seen": "third"}))


def test_targeting_knows_what_the_user_did():
    fake = shop(users=5)
    busy = tried(where=Where(min_events=12))
    engine = engine_of(fake, CONFIG, experiments=Board(busy))
    assert engine.recommend(Request(at=NOW, user_id="u1")).arms
    stranger = engine.recommend(Request(at=NOW, user_id="nobody", explain=True))
    assert not stranger.arms
    assert stranger.experiments == {"seen": "not in it: not targeted"}


def test_the_holdout_sees_no_arm_and_no_exploration():
    config = parse(
        {"surfaces": {"home": {"explore": {"slots": 3, "epsilon": 1.0, "budget": 1.0}, "ttl_s": 0.0}}}
    )
    engine = engine_of(
        shop(items=300, kinds=40), config, experiments=Board(tried(), holdout=0.5, config=config)
    )
    held = Counter()
    for answer in asked(engine, explain=True):
        held[not answer.arms] += 1
        explored = [item for item in answer.items if item.source == "explore"]
        assert bool(explored) == bool(answer.arms)
        assert all(item.why == "epsilon" and item.propensity < 0.5 for item in explored)
        assert answer.arms or answer.experiments == {"holdout": "not in it: in the global holdout"}
    assert set(held) == {True, False}


@pytest.mark.parametrize("kind", ["epsilon", "thompson", "plackett-luce"])
def test_a_surface_explores_by_any_kind_and_leaves_its_pins(kind):
    explore = {"kind": kind, "slots": 3, "epsilon": 0.5, "temperature": 1.0, "budget": 1.0}
    home = {"explore": explore, "pins": {"i70": 1, "i71": 7}, "ttl_s": 0.0, "max_per_category": 2}
    engine = engine_of(shop(items=120, kinds=20), parse({"surfaces": {"home": home}}))
    explored = 0
    for answer in asked(engine, n=25):
        assert (ids(answer)[0], ids(answer)[6]) == ("i70", "i71")
        assert max(Counter(int(item[1:]) % 20 for item in ids(answer)[:10]).values()) <= 2
        drawn = [item for item in answer.items if item.source == "explore"]
        explored += len(drawn)
        assert all(item.propensity < 1.0 for item in drawn)
        shown = engine.slate(answer).items
        assert [(one.source, one.propensity) for one in shown] == [
            (one.source, one.propensity) for one in answer.items
        ]
    assert 0 < explored <= 75


def test_items_that_are_tried_have_their_factor_but_not_for_the_holdout():
    arms = {"old": Arm(), "up": Arm(set={"boost": 50.0})}
    board = Board(tried(unit="item", arms=arms))
    raised = {item for item in FAKE.items if board.assigner.item_factors([item], "home")[0] == 50.0}
    assert 10 < len(raised) < 70
    with_it, without = (
        ids(engine_of(FAKE, CONFIG, experiments=one).recommend(Request(at=NOW, user_id="u1", n=15)))
        for one in (board, Board(tried(unit="item", arms=arms), holdout=1.0))
    )
    assert len(raised & set(with_it)) > len(raised & set(without))
    assert without == ids(engine_of(FAKE, CONFIG).recommend(Request(at=NOW, user_id="u1", n=15)))


RIVALS = {"old": Arm(), "new": Arm(set={"boosts": {"k1": 30.0, "k2": 30.0}})}


def test_an_interleaved_list_is_of_both_arms_and_says_who_chose_what():
    engine = engine_of(FAKE, CONFIG, experiments=Board(tried(kind="interleaved", arms=RIVALS)))
    alone = {
        arm: engine_of(FAKE, CONFIG, experiments=Board(tried(arms={arm: RIVALS[arm]}))) for arm in RIVALS
    }
    for answer in asked(engine, n=8):
        both = [ids(alone[arm].recommend(Request(at=NOW, user_id=answer.user_id))) for arm in RIVALS]
        (exposure,) = exposures(engine, answer)
        slate = slates.decode(slates.encode(engine.slate(answer)))
        assert (answer.arms, exposure.arm) == ({"seen": "both"}, "both")
        assert len(slate.teams) == len(answer.items) == len(set(ids(answer)))
        for item, team, shown in zip(ids(answer), slate.teams, slate.items, strict=True):
            assert team == -1 or item in both[team]
            assert credit(exposure.teams, item) == {-1: 0, 0: -1, 1: 1}[team]
            assert shown.propensity in (0.5, 1.0)
            assert len(shown.features) == len(slate.features) > 0
        assert {0, 1} <= set(slate.teams)
        assert engine.recommend(Request(at=NOW, user_id=answer.user_id)).rung == "cached"
    explained = engine.recommend(Request(at=NOW, user_id="u1", explain=True))
    assert {item.team for item in explained.items} >= {0, 1}


def test_rankings_that_agree_are_no_exposure_and_neither_is_a_list_that_could_not_be_merged(
    monkeypatch, caplog
):
    caplog.set_level(logging.CRITICAL)
    agreed = {"old": Arm(), "new": Arm(set={"budget_ms": 50.0})}
    engine = engine_of(FAKE, CONFIG, experiments=Board(tried(kind="interleaved", arms=agreed)))
    answer = engine.recommend(Request(at=NOW, user_id="u1"))
    assert exposures(engine, answer) == ()
    assert set(engine.slate(answer).teams) == {-1}

    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr("api.engine.drafted", fail)
    counted = []
    engine = engine_of(
        FAKE, CONFIG, experiments=Board(tried(kind="interleaved", arms=RIVALS)),
        count=lambda name, labels: counted.append((name, labels["rung"])),
    )  # fmt: skip
    answer = engine.recommend(Request(at=NOW, user_id="u1"))
    assert ids(answer) == ids(engine_of(FAKE, CONFIG).recommend(Request(at=NOW, user_id="u1")))
    assert exposures(engine, answer) == ()
    assert ("failures", "experiments") in counted


def test_drafted_lists_come_as_often_as_their_chances_say():
    def ranked(*slots):
        n = len(slots)
        return Ranked(np.array(slots), np.ones(n, np.float32), ["ann"] * n, np.ones(n))

    one, other, rounds = ranked(1, 2, 3, 4, 5), ranked(1, 4, 2, 6, 3), 3000
    came, chance = Counter(), {}
    for n in range(rounds):
        merged, teams = drafted(one, other, 5, f"d{n}")
        came[tuple(merged.slots.tolist())] += 1
        chance[tuple(merged.slots.tolist())] = prod(merged.propensity.tolist())
        assert len(teams) == 5
    assert sum(chance.values()) == pytest.approx(1.0)
    for each, times in came.items():
        assert times / rounds == pytest.approx(chance[each], abs=0.04)


def test_where_the_other_arm_would_have_shown_the_same_there_is_no_exposure_for_either_arm():
    arms = {"old": Arm(), "new": Arm(set={"boosts": {"k7": 9.0}})}
    engine = engine_of(FAKE, CONFIG, experiments=Board(tried(arms=arms, counterfactual=True)))
    told = Counter()
    for kind, expected in (("k7", True), ("k3", False)):
        for answer in asked(engine, categories=(kind, "k0") if expected else (kind,)):
            exposed = bool(exposures(engine, answer))
            slate = engine.slate(answer)
            assert slate.alike == (() if exposed else ("seen",))
            told[expected, answer.arms["seen"], exposed] += 1
            repeated = engine.cached(Request(at=NOW, user_id=answer.user_id, categories=(kind,)))
            if repeated is not None:
                assert bool(exposures(engine, repeated)) == exposed
    assert {arm for expected, arm, exposed in told if expected and exposed} == {"old", "new"}
    assert not any(exposed for expected, _, exposed in told if not expected)


class Broken:
    """Experiments nothing of which works."""

    @property
    def assigner(self):
        return self

    def __getattr__(self, name):
        raise RuntimeError(f"{name} is broken")


def test_experiments_that_break_leave_the_list_as_configured(caplog):
    caplog.set_level(logging.CRITICAL)
    counted = []
    engine = engine_of(
        FAKE, CONFIG, experiments=Broken(), count=lambda name, labels: counted.append((name, labels["rung"]))
    )
    answer = engine.recommend(Request(at=NOW, user_id="u1", explain=True))
    assert ids(answer) == ids(engine_of(FAKE, CONFIG).recommend(Request(at=NOW, user_id="u1", explain=True)))
    assert (answer.arms, answer.rung) == ({}, "full")
    assert ("failures", "experiments") in counted
    assert exposures(engine, answer) == ()


def test_a_list_stays_in_the_cache_when_only_its_exposure_was_folded():
    fake, clock = shop(), Clock()
    engine = engine_of(fake, CONFIG, clock=clock, experiments=Board(tried()))
    request = Request(at=NOW, user_id="u3")
    answer = engine.recommend(request)
    fake.fold(
        [
            Event(
                event_id="e", type="exposure", at=NOW, user_id="u3", request_id=answer.request_id, value=20.0,
                exposures=exposures(engine, answer),
            )
        ]
    )  # fmt: skip
    assert engine.cached(request) is not None
    fake.fold([click("u3", 5, 99, fake, NOW + 1)])
    assert engine.cached(request) is None
