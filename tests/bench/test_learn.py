"""Learn: a small run says every figure, and its worker folds what it was given."""

import pytest

from bench import alone, learn
from bench.alone import Alone
from models.users import User


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(alone, "EVENTS", 4_000)
    monkeypatch.setattr(alone, "USERS", 20)
    monkeypatch.setattr(learn, "USERS", 20)
    monkeypatch.setattr(learn, "FEW", 100)
    monkeypatch.setattr(learn, "HISTORY", 25)


def test_users_remember_and_items_and_the_learner_hear_of_turns_alone(small):
    worker = Alone(100)
    worker.settle(500)
    assert worker.written == 0
    users = [User.from_row(row) for row in worker.users().values()]
    assert sum(user.tally[0] for user in users) == 500
    parts = worker.turn(500)
    assert set(parts) == {"users_us", "items_us", "learner_us", "rows_us"}
    assert worker.written > 100 * 16 * 4  # more than vectors of all items
    users = [User.from_row(row) for row in worker.users().values()]
    assert sum(user.tally[0] for user in users) == 1000


def test_the_report_has_every_figure_and_target(small):
    said = learn.run(items=200, turn=250)
    figures = said["figures"]
    assert set(said["targets"]) <= set(figures)
    del figures["mb_per_million_items"]  # so few take no page of memory of their own
    assert {"learned_mb_per_s", "million_learner_us", "mb_per_million_users"} <= set(figures)
    assert all(figure > 0 for figure in figures.values())
