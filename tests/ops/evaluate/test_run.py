"""Protocols on small files: what is predicted, what it is worth, and the same by a second, naive way."""

import json
import random

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from models.actions import DEFAULTS
from models.evaluation import MISS
from ops.cli import app
from ops.evaluate.protocols import Run, leave_last_out, prequential
from ops.evaluate.source import Columns, opened
from ops.evaluate.world import World
from streams.errors import Refused
from tests.ops.evaluate.shop import ITEMS, START, measured, shopping, written


def ran(file, protocol=prequential, ks=(2, 3), every=1, **columns):
    with opened(file, Columns(**columns)) as source:
        run = Run(World(DEFAULTS, 16), ks, every)
        protocol(run, source, lambda _: None)
    return run, run.judge.judged()


def test_each_first_choice_of_an_item_is_predicted_and_a_repeat_is_not(tmp_path):
    _, judged = ran(
        written(tmp_path, [("a", "x"), ("a", "y"), ("a", "x"), ("b", "y"), ("b", "x"), ("a", "z")])
    )
    assert judged.earlier.tolist() == [0, 1, 0, 1, 2]
    assert judged.chosen.tolist() == [0, 0, 1, 1, 0]  # people, so that a's second x counts once
    assert judged.candidates.tolist() == [0, 0, 2, 1, 0]  # what was met so far, but the user's own
    assert (judged.rank == MISS).tolist() == [True, True, False, False, True]


def test_popularity_in_the_same_run_is_that_of_a_naive_loop(tmp_path):
    choices = shopping()
    _, judged = ran(written(tmp_path, choices))

    people, own, ranks = {}, {}, []
    for user, item in choices:
        known = own.setdefault(user, set())
        if item in known:
            continue
        mine = people.get(item, 0)
        ranks.append(
            sum(count >= mine for other, count in people.items() if other not in known)
            if item in people
            else MISS
        )
        known.add(item)
        people[item] = people.get(item, 0) + 1
    assert judged.popular.tolist() == ranks


def test_lists_are_counted_as_often_as_they_were_made(tmp_path):
    run, judged = ran(written(tmp_path, shopping()))
    for k, shown in run.judge.shown.items():
        known = judged.where(judged.earlier > 0)
        assert shown.sum() == np.minimum(known.candidates, k).sum()
        hits = int((known.rank <= k).sum())
        assert 0 < hits <= shown.sum()


def test_a_sample_is_ranked_as_it_was_among_all(tmp_path):
    file = written(tmp_path, shopping())
    _, whole = ran(file)
    _, sample = ran(file, every=3)
    assert sample.rank.tolist() == whole.rank[2::3].tolist()


def test_a_planted_pattern_is_learned(tmp_path):
    """Everyone walks the same circle of items, from anywhere: the next step is known, popularity knows nothing."""
    draw = random.Random(1)
    walks = {f"u{n}": iter([f"i{(draw_ + step) % ITEMS}" for step in range(12)])
             for n, draw_ in enumerate(draw.choices(range(ITEMS), k=150))}  # fmt: skip
    choices = []
    while walks:
        user = draw.choice(sorted(walks))
        item = next(walks[user], None)
        if item is None:
            del walks[user]
        else:
            choices.append((user, item))
    said = measured(written(tmp_path, choices), ks=(1, 3))
    assert said["second_half"]["hr@1"] > 0.9
    assert said["second_half"]["hr@3"] > 0.97
    assert said["second_half"]["popular_hr@3"] < 0.4


def test_leave_last_out_holds_back_the_last_discovery_and_what_follows(tmp_path):
    choices = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y"), ("b", "x"), ("c", "y"), ("a", "x")]
    run, judged = ran(written(tmp_path, choices), leave_last_out)
    assert run.took.events == 3  # a's x, b's x and the single choice of c, of whom nothing can be held back
    assert judged.earlier.tolist() == [1, 1]
    assert judged.chosen.tolist() == [1, 1]
    assert judged.rank.tolist() == [1, 1]


def test_the_last_discovery_is_the_last_in_time_whatever_the_order_of_the_file(tmp_path):
    choices = [("a", "z"), ("a", "y"), ("b", "y"), ("b", "z"), ("a", "x"), ("b", "x")]
    at = {"at": [START + 9, START + 2, START + 3, START + 4, START + 1, START + 5]}
    users, items = zip(*choices, strict=True)
    file = tmp_path / "shop.parquet"
    pl.DataFrame({"user": users, "item": items, **at}).write_parquet(file)
    _, judged = ran(file, leave_last_out)
    assert judged.at.tolist() == [(START + 5) * 1000, (START + 9) * 1000]


def test_what_is_disliked_is_neither_predicted_nor_popular(tmp_path):
    file = written(tmp_path, [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")], stars=[5, 5, 5, 1])
    _, judged = ran(file, kind="rating", value="stars")
    assert judged.earlier.tolist() == [0, 1, 0]


def test_what_is_not_to_be_predicted_teaches_by_its_type(tmp_path):
    choices = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    file = written(tmp_path, choices, kind=["view", "purchase", "view", "purchase"])
    run, judged = ran(file, kind="kind", positive="kind == purchase")
    assert run.took.events == 4
    assert judged.earlier.tolist() == [0, 0]
    assert judged.rank[1] == 1 or judged.candidates[1] == 2


def test_the_same_file_has_the_same_figures(tmp_path):
    file = written(tmp_path, shopping())
    cost = ("events_per_s", "fold_us", "learn_us", "rank_us", "seconds", "rss_mb")
    first, second = (
        {name: value for name, value in measured(file).items() if name not in cost} for _ in range(2)
    )
    assert first == second


def test_what_is_stale_by_an_hour_is_judged_beside_what_is_fresh(tmp_path):
    said = measured(written(tmp_path, shopping(users=300, choices=4000)))
    hour = said["losses"]["3600 s stale"]
    assert hour["predicted"] > 100
    assert hour["loss"] == 1 - hour["hr@10"] / hour["exact_hr@10"]


@pytest.mark.parametrize("protocol", ["prequential", "leave-last-out"])
@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("trail", [50, 3])
def test_the_engine_ranks_a_small_catalogue_as_ranking_all_of_it_does(
    tmp_path, monkeypatch, protocol, shards, trail
):
    monkeypatch.setattr("models.users.TRAIL", trail)
    said = measured(written(tmp_path, shopping()), protocol, ks=(1, 5), retrieval=True, shards=shards)
    assert said["shards"] == shards
    for way in ("candidates", "engine"):
        part = said["losses"][way]
        assert part["predicted"] == said["predicted"] > 30
        assert part["hr@1"] == part["exact_hr@1"] == said["hr@1"]


@pytest.mark.parametrize(("protocol", "asked"), [("prequential", 0.1), ("leave-last-out", 1.0)])
def test_the_engine_is_asked_for_a_sample_while_it_learns_and_for_all_who_are_left_out(
    tmp_path, monkeypatch, protocol, asked
):
    monkeypatch.setattr("ops.evaluate.run.SAMPLE", 40)
    said = measured(written(tmp_path, shopping()), protocol, retrieval=True)
    assert said["losses"]["engine"]["predicted"] == int(said["predicted"] * asked) > 0


@pytest.mark.parametrize(
    ("choices", "more", "said", "reason"),
    [
        ([("a", "x"), ("b", "x")], {}, {}, "nothing to predict in 2 events"),
        ([("a", "x"), ("b", "x")], {"what": ["wink", "nod"]}, {"kind": "what"}, "its types are nod, wink"),
    ],
)
def test_what_no_figure_can_be_said_of_is_refused(tmp_path, choices, more, said, reason):
    with pytest.raises(Refused, match=reason):
        measured(written(tmp_path, choices, **more), **said)


def test_the_command_prints_json_and_draws(tmp_path):
    file, plot = written(tmp_path, shopping()), tmp_path / "quality.svg"
    done = CliRunner().invoke(app, ["evaluate", str(file), "--k", "5,10", "--plot", str(plot), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    for prefix in ("", "popular_"):
        assert all(
            0 < said[f"{prefix}{name}@{k}"] < 1 for name in ("hr", "ndcg", "mrr", "recall") for k in (5, 10)
        )
    assert said["hr@10"] == said["recall@10"]
    assert 0 < said["coverage@5"] <= said["coverage@10"] <= 1
    assert {
        "after_0",
        "after_1",
        "after_2",
        "after_3",
        "after_5",
        "warm",
        "new_items",
        "head",
        "tail",
    } == set(said["slices"])
    assert plot.read_text().count("<polyline") == 2


def test_the_command_prints_for_a_person(tmp_path):
    done = CliRunner().invoke(app, ["evaluate", str(written(tmp_path, shopping()))])
    assert done.exit_code == 0, done.output
    assert "400 rows; user=user item=item at=at (seconds)" in done.stdout
    assert "popular, second half" in done.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--k", "0"], "--k '0': give numbers from 1 to 1000"),
        (["--k", "ten"], "--k 'ten'"),
        (["--plot", "quality.jpg"], "a plot is an .svg or an .html file"),
        (["--plot", "nowhere/quality.svg"], "there is no folder nowhere"),
        (["--positive", "stars > 3"], "no column 'stars'; there are user, item, at"),
        (["--model", "bold", "--online"], "--online and --model bold"),
    ],
)
def test_the_command_refuses(tmp_path, options, reason):
    done = CliRunner().invoke(app, ["evaluate", str(written(tmp_path, shopping())), *options])
    assert done.exit_code == 1
    assert isinstance(done.exception, Refused)
    assert reason in str(done.exception)
