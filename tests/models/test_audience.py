"""The simulated audience behaves as is said of it, and comparisons of rankings need the users that are told."""

import numpy as np
import pytest

from models.audience import audience, clicks, expected, preferences, users_needed


def test_lists_are_clicked_as_often_as_expected():
    draw = np.random.default_rng(3)
    people = audience(draw, 1_000)
    clicked = clicks(draw, people.attraction, people.one)
    assert clicked.sum() == pytest.approx(expected(people.attraction, people.one).sum(), rel=0.02)
    assert clicked[:, 0].mean() > clicked[:, 4].mean() > clicked[:, 9].mean()


def test_nobody_prefers_one_of_two_equal_rankings():
    draw = np.random.default_rng(4)
    signs = preferences(draw, audience(draw, 1_000, (0.9, 0.9)), 1_000)
    assert abs(signs.mean()) < 3 * signs.std() / np.sqrt(1_000)


def test_so_many_users_find_the_better_ranking_as_often_as_told():
    draw = np.random.default_rng(5)
    signs = preferences(draw, audience(draw, 1_000), 1_000)
    n = round(7.849 * signs.var() / signs.mean() ** 2)  # (1.96 + 0.84) squared: 5 % error, 80 % power
    samples = draw.choice(signs, (4_000, n))
    found = samples.mean(axis=1) / samples.std(axis=1) * np.sqrt(n) > 1.96
    assert found.mean() == pytest.approx(0.8, abs=0.04)


def test_interleaving_needs_fewer_users_than_groups_do():
    needed = users_needed(seed=2, users=500)
    assert needed.lift == pytest.approx(0.04, abs=0.01)
    assert needed.by_clicks_per_user > needed.by_clicks_per_list > 5 * needed.interleaved
    assert users_needed(seed=2, users=500, power=0.9).interleaved == pytest.approx(
        1.339 * needed.interleaved, rel=1e-3
    )
