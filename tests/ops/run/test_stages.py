"""Which stages a worker runs as generations come and go."""

import pytest

from models.surfaces import load
from ops.run import stages
from ops.run.stages import Stages
from ops.state.fold import fingerprints
from streams.errors import StateError
from streams.generations import Generation, Generations
from streams.settings import Settings


class Child:
    """A process that ends when a test says so."""

    def __init__(self, name, command, env):
        self.name, self.command, self.env = name, command, env
        self.code, self.stopped = None, False

    def poll(self):
        return self.code

    def stop(self, _grace):
        self.stopped, self.code = True, 0


class Children:
    """Starts such processes and remembers them in order."""

    grace = 1

    def __init__(self):
        self.started = []

    def start(self, name, command, *, env, hear):
        assert callable(hear)
        self.started.append(Child(name, command, env))
        return self.started[-1]


@pytest.fixture
def settings(tmp_path):
    return Settings(data=tmp_path, dimensions=16, namespace="shop")


@pytest.fixture
def folds(settings):
    return fingerprints(settings, load(settings.config).actions)


@pytest.fixture
def worker(settings, monkeypatch):
    monkeypatch.setattr(stages, "check", lambda _: None)
    monkeypatch.setattr(stages, "PAUSE", 0.0)
    children = Children()
    return Stages(settings, ("users", "items"), "INFO", children, lambda _name, _line: None), children


def recorded(*all_):
    found = Generations()
    for one in all_:
        found = found.put(one)
    return found


def test_two_stages_for_each_generation_that_is_kept_up(worker, folds):
    running, children = worker
    live = Generation(number=0, stage="live", folds=folds)
    made = Generation(number=2, stage="standby", folds=folds, touches=2)
    left = Generation(number=3, stage="building", folds=folds)
    running.follow(recorded(live, left))
    assert [child.name for child in children.started] == ["users", "items"]
    running.follow(recorded(live, made, left))
    assert [child.name for child in children.started[2:]] == ["users-g2", "items-g2"]
    first, other = children.started[0], children.started[3]
    assert first.env == {"REFOLD_GENERATION": "0", "REFOLD_TOUCHES": "0"}
    assert other.env == {"REFOLD_GENERATION": "2", "REFOLD_TOUCHES": "2"}
    assert other.command[-3:] == ["items", "INFO", folds["items"]]

    running.follow(recorded(made))
    assert [child.stopped for child in children.started] == [True, True, False, False]
    assert set(running.running) == {(2, "users"), (2, "items")}


def test_a_generation_folded_otherwise_is_left_to_others(worker, folds):
    running, children = worker
    live = Generation(number=0, stage="live", folds=folds)
    other = Generation(number=1, stage="standby", folds={**folds, "users": "users=1 dimensions=16"})
    running.follow(recorded(live, other))
    assert [child.name for child in children.started] == ["users", "items"]
    with pytest.raises(
        StateError, match=r"the folds changed \(generation 1: users: .* there, .* here\): run"
    ):
        running.follow(recorded(other))
    with pytest.raises(StateError, match="no generation is left"):
        running.follow(Generations())


def test_what_runs_goes_on_when_the_configuration_changes(worker, folds, monkeypatch):
    running, children = worker
    live = Generation(number=0, stage="live", folds=folds)
    running.follow(recorded(live))
    monkeypatch.setattr(stages, "fingerprints", lambda *_: {**folds, "users": "other"})
    made = Generation(number=1, stage="standby", folds={**folds, "users": "other"})
    running.follow(recorded(live, made))
    assert [child.name for child in children.started] == ["users", "items", "users-g1", "items-g1"]
    assert not any(child.stopped for child in children.started)


def test_only_the_live_generation_ends_the_worker(worker, folds):
    running, children = worker
    live = Generation(number=0, stage="live", folds=folds)
    made = Generation(number=1, stage="standby", folds=folds)
    running.follow(recorded(live, made))
    assert running.ended() is None
    children.started[2].code = 70
    assert running.ended() is None
    assert [child.name for child in children.started[4:]] == ["users-g1"]
    assert running.ended() is None
    assert len(children.started) == 5
    children.started[1].code = 70
    assert running.ended() is children.started[1]


def test_folders_of_dropped_generations_are_removed_and_nobody_elses(worker, folds, settings):
    running, _ = worker
    home = settings.data / settings.worker
    names = ("shop.refold-users", "shop.refold-g1-users", "shop.refold-g2-items", "other.refold-g1-users")
    for name in names:
        (home / name).mkdir(parents=True)
    running.follow(recorded(Generation(number=2, stage="live", folds=folds)))
    assert sorted(path.name for path in home.iterdir()) == ["other.refold-g1-users", "shop.refold-g2-items"]
