"""A draft is fair: where two rankings are equally good, neither is preferred, whatever people click."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from models.interleaving import FIRST, NEITHER, SECOND, credit, preference, team_draft, told
from models.users import seen_hash

RANKINGS = st.integers(1, 12).flatmap(
    lambda size: st.tuples(st.permutations(range(size)), st.permutations(range(size)))
)


def drafted(one, other, n, seed):
    return team_draft(np.array(one, np.int64), np.array(other, np.int64), n, seed)


@given(RANKINGS, st.integers(0, 15), st.text(max_size=5))
def test_a_draft_holds_the_best_of_both_once(rankings, n, seed):
    one, other = rankings
    order, teams = drafted(one, other, n, seed)
    found = order.tolist()
    assert len(found) == len(teams) == min(n, len(one))
    assert len(set(found)) == len(found)
    for ranking, team in ((one, FIRST), (other, SECOND)):
        ranks = [ranking.index(item) for item, of in zip(found, teams, strict=True) if of == team]
        assert ranks == sorted(ranks)
        assert set(ranking[: len(found) // 2]) <= set(found)  # half of the places are its own choice
    again, same = drafted(one, other, n, seed)
    assert again.tolist() == found
    assert same.tolist() == teams.tolist()


@given(RANKINGS, st.integers(1, 12))
@example(([0, 1, 2, 3], [0, 2, 1, 3]), 3)  # turns from the very top gave one team both places that tell
def test_teams_are_as_large_as_each_other_beyond_what_both_fill_alike(rankings, n):
    one, other = rankings
    _, teams = drafted(one, other, n, "seed")
    alike = next((k for k, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]), len(one))
    assert (teams[:alike] == NEITHER).all()
    assert abs(int((teams == FIRST).sum()) - int((teams == SECOND).sum())) <= 1


def test_every_list_is_drafted_as_often_with_its_teams_exchanged():
    """So that an item's click speaks for either ranking equally often where both rank it alike."""
    one, other = [0, 1, 2, 3], [1, 0, 2, 3]
    balance = dict.fromkeys(one, 0)
    for n in range(4_000):
        order, teams = drafted(one, other, 4, f"request-{n}")
        for item, team in zip(order.tolist(), teams.tolist(), strict=True):
            balance[item] += (team == SECOND) - (team == FIRST)
    assert abs(balance[2]) < 250
    assert abs(balance[3]) < 250
    assert (balance[0], balance[1]) == (-4_000, 4_000)


def test_a_longer_ranking_gains_nothing_where_the_other_has_ended():
    for n in range(20):
        order, teams = drafted([1, 2], [3, 1, 4, 5], 6, f"{n}")
        assert sorted(order.tolist()) == [1, 2, 3, 4, 5]
        assert int((teams == FIRST).sum()) == int((teams == SECOND).sum())


def test_nothing_is_credited_where_both_rankings_are_one():
    _, teams = drafted([3, 1, 2], [3, 1, 2], 3, "seed")
    assert (teams == NEITHER).all()


def test_an_exposure_tells_teams_of_the_first_twenty_items_by_their_hash():
    items = [f"item-{n}" for n in range(30)]
    teams = np.array([n % 3 - 1 for n in range(30)], np.int8)
    said = told(items, teams)
    assert len(said) == 5 * 13  # of 20, without those of no team
    assert said[:5] == seen_hash("item-1") + b"\x00"
    assert [credit(said, item) for item in items[:6]] == [0, -1, 1, 0, -1, 1]
    assert credit(said, "item-29") == credit(said, "other") == 0


def test_a_preference_is_the_sign_of_all_credits():
    assert [preference(each) for each in ([1, 1, -1], [-1], [1, -1], [])] == [1, -1, 0, 0]
