import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import action, drift, online, responses, window
from models.action import Action
from models.features import COLUMN, NAMES
from models.online import Model
from models.responses import Responses, merged, scorer_of
from models.scale import Scale
from models.scorer import Scorer, light
from models.teacher import Teacher
from streams.examples import Seen, digest_of
from streams.rows import pack

PLACES = 10
WIDTH = len(NAMES)


def seen(n, matrix, chosen=(), fresh=None, features=NAMES):
    places = tuple(range(len(matrix)))
    fresh = places if fresh is None else fresh
    matrix = np.asarray(matrix, "<f4").tobytes()
    return Seen(n, "events", n, "home", n.to_bytes(8), digest_of(features), places, fresh, chosen, matrix)


def matrices(count, seed=1):
    draw = np.random.default_rng(seed)
    for _ in range(count):
        yield (draw.random((PLACES, WIDTH)) * (draw.random((PLACES, WIDTH)) < 0.4)).astype(np.float32)


def world(count, taste, rate=-2.0, seed=1, position=True):
    """Slates of which `click` is answered by the taste, a weight for each feature, and less at each lower place."""
    draw = np.random.default_rng(seed + 1000)
    less = [action.seen_less(place) if position else 0.0 for place in range(PLACES)]
    for n, matrix in enumerate(matrices(count, seed)):
        chance = 1 / (1 + np.exp(-(matrix @ taste + rate + less)))
        clicked = np.flatnonzero(draw.random(PLACES) < chance)
        yield seen(seed << 32 | n, matrix, tuple(("click", int(place)) for place in clicked))


def taste(seed=0):
    return np.random.default_rng(seed).normal(0, 1.5, WIDTH)


def learned(examples, into=None):
    teacher = into or Teacher(Responses())
    for each in examples:
        teacher.learn(each)
    teacher.row()
    return teacher


def served(teacher):
    return merged([teacher.responses])


def again(teacher):
    return Teacher(Responses.from_row(teacher.row()))


def agreement(scorer, taste):
    matrix = np.concatenate(list(matrices(200, seed=9)))
    chance = np.clip(scorer.predict(matrix)[:, 0].astype(float), 1e-9, 1 - 1e-7)
    return np.corrcoef(matrix @ taste, np.log(chance / (1 - chance)))[0, 1]


@pytest.fixture(scope="module")
def taught():
    return learned(world(1500, taste()))


def test_nothing_learned_is_the_packaged_model():
    assert scorer_of([b"", b""]).version == light().version
    assert merged([Responses()]).version == light().version


def test_what_was_learned_is_served_once_it_beats_the_packaged_model(taught):
    click = taught.responses.report()["click"]
    assert click["served"]
    assert click["loss"] < 0.95 * click["default_loss"]
    assert click["auc"] > 0.7
    assert agreement(served(taught), taste()) > max(0.85, agreement(light(), taste()))


def test_what_is_served_is_calibrated_for_the_first_place():
    scorer = served(learned(world(2500, taste() / 2)))
    matrix = np.concatenate(list(matrices(500, seed=9)))
    truth = 1 / (1 + np.exp(-(matrix @ taste() / 2 - 2.0)))
    assert scorer.predict(matrix)[:, 0].mean() == pytest.approx(truth.mean(), rel=0.25)


def test_position_is_learned_and_left_out_when_served():
    draw = np.random.default_rng(3)
    less = np.array([0.5] + [0.05] * (PLACES - 1))
    only_place = learned(
        seen(n, matrix, tuple(("click", int(place)) for place in np.flatnonzero(draw.random(PLACES) < less)))
        for n, matrix in enumerate(matrices(2500, seed=3))
    )
    weights = only_place.models["click"].river.weights
    assert all(weights[key] * action.AT_PLACE < -2.0 for key in ("place:1", "place:2", "place:5"))
    scorer = served(only_place)
    assert scorer.predict(np.zeros((1, WIDTH), np.float32))[0, 0] == pytest.approx(0.5, abs=0.15)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-20, 20, width=32), min_size=WIDTH, max_size=WIDTH),
    st.sampled_from(["click", "purchase"]),
)
@example(
    [{4: -1.0, 12: 12.0, 21: 2.0, 24: 6.0, 25: 1.0, 41: 11.0}.get(n, 0.0) for n in range(WIDTH)], "click"
)
def test_the_compiled_scores_are_those_of_river(taught, values, name):
    row = np.array([values], np.float32)
    model, scale = taught.models[name], taught.responses.scale
    weights, bias = action.flat(model.weights(), scale)
    scaled = scale.apply(row.astype(np.float64))[0]
    river = model.river.predict_proba_one(dict(zip(NAMES, scaled.tolist(), strict=True)))[True]
    compiled = Scorer([name], weights[:, None], np.array([bias]))
    ours = compiled.predict(row)[0, 0]
    assert ours == pytest.approx(river, abs=1e-6)


def test_shown_now_and_chosen_later_is_the_logistic_loss():
    loss, whole = online.Apart(), online.optim.losses.Log()
    for logit in (-40.0, -3.0, 0.0, 0.7, 25.0):
        apart = loss.gradient(False, logit) + loss.gradient(True, logit)
        assert apart == pytest.approx(whole.gradient(True, logit), abs=1e-7)
        assert loss.gradient(False, logit) == whole.gradient(False, logit)


def test_a_new_scale_changes_nothing_that_is_said():
    draw = np.random.default_rng(5)
    scale, rows = Scale(WIDTH), draw.normal(3, 5, (64, WIDTH))
    model = Model(Action(draw.normal(size=WIDTH), -3.0), scale)
    before = action.flat(model.weights(), scale)
    scale.learn(rows)
    old = scale.adopt(0)
    assert old is not None
    model.rescale(old)
    after = action.flat(model.weights(), scale)
    assert np.allclose(before[0], after[0])
    assert before[1] == pytest.approx(after[1])
    assert np.allclose(scale.apply(rows).std(axis=0), 1.0)


def leaning(slope, slates=300):
    """Return what was learned where the packaged model's log-odds are so many times too small."""
    draw, teacher, column = np.random.default_rng(6), Teacher(Responses()), COLUMN["relevance"]
    for n in range(slates):
        matrix = np.zeros((PLACES, WIDTH), np.float32)
        matrix[:, column] = draw.normal(-4.0, 3.0, PLACES)
        chance = 1 / (1 + np.exp(-(slope * (matrix[:, column] + 4.0) - 2.0)))
        clicked = np.flatnonzero(draw.random(PLACES) < chance)
        teacher.learn(seen(n, matrix, tuple(("click", int(place)) for place in clicked)))
    teacher.row()
    return teacher


def test_a_packaged_model_that_is_too_sure_of_itself_is_believed_less():
    teacher = leaning(0.2)
    click = teacher.responses.actions["click"]
    assert click.slope == pytest.approx(0.2, abs=0.06)
    assert teacher.responses.report()["click"]["default_loss"] < 1.0
    few = leaning(0.2, slates=20)
    untaught = few.responses.actions["click"]
    assert not untaught.trusted
    assert untaught.slope < 0.8
    weights, _ = untaught.compiled(few.responses.scale)
    assert np.allclose(weights, untaught.slope * untaught.prior)


def test_no_slope_turns_the_packaged_order_around():
    assert leaning(-0.3).responses.actions["click"].slope == online.FLAT


def test_what_the_packaged_model_says_stays_under_a_new_scale():
    draw = np.random.default_rng(5)
    scale = Scale(WIDTH)
    scale.learn(draw.normal(3, 5, (64, WIDTH)))
    scale.adopt(0)
    model = Model(Action(draw.normal(size=WIDTH), -3.0, shift=0.7, slope=0.3), scale)
    before = model.action.compiled(scale)
    scale.learn(draw.normal(-2, 1, (64, WIDTH)))
    model.rescale(scale.adopt(64))
    after = model.action.compiled(scale)
    assert np.allclose(before[0], after[0])
    assert before[1] == pytest.approx(after[1])


def test_the_row_holds_everything_and_learning_goes_on_from_it(taught):
    more = list(world(300, taste(), seed=2))
    assert again(taught).row() == taught.row()
    straight = learned(more, again(taught))
    in_parts = learned(more[77:], again(learned(more[:77], again(taught))))
    assert in_parts.row() == straight.row()


def test_a_row_is_bounded():
    many = learned(
        seen(n, matrix, tuple((f"action{n}", place) for place in range(PLACES)))
        for n, matrix in enumerate(matrices(600, seed=6))
    )
    assert len(many.models) == responses.MODELS
    assert len(many.row()) < 150_000


def test_the_same_example_is_learned_once():
    one = seen(1, next(matrices(1)), (("click", 2),))
    once, twice = learned([one]), learned([one, one])
    assert twice.responses.tally[responses.AGAIN] == PLACES + 1
    for name, model in once.responses.actions.items():
        assert model.numbers() == twice.responses.actions[name].numbers()


def test_examples_of_other_features_teach_nothing():
    foreign = learned([seen(1, next(matrices(1)), features=("a", "b"))])
    assert foreign.responses.tally[responses.FOREIGN] == 1
    assert foreign.responses.scale.count == 0
    other_release = pack(responses.VERSION, (b"otherfea", [], {}, b"", [0, 0, 0, 0]))
    assert Responses.from_row(other_release).row() == Responses().row()


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_what_is_not_finite_teaches_nothing(taught, bad):
    before, teacher = served(taught).version, again(taught)
    matrix = next(matrices(1)).copy()
    matrix[3, 4] = bad
    learned([seen(12345, matrix, (("click", 3),))], teacher)
    assert teacher.responses.tally[responses.REFUSED] == 1
    assert served(teacher).version == before


def test_a_model_that_is_not_finite_goes_back_to_its_last_good_weights(taught):
    teacher = again(taught)
    model = teacher.models["click"]
    click = model.action
    assert click.good
    good, rolled = list(click.good), click.rolled
    vars(model.river)["_weights"]["ctr"] = math.nan
    learned(world(1, taste(), seed=8), teacher)
    assert click.rolled == rolled + 1
    assert not click.trusted
    assert np.allclose(click.weights, good, atol=0.5)
    assert np.isfinite(served(teacher).weights).all()


def test_a_world_that_turns_over_is_noticed_and_learned_anew(taught):
    teacher = again(taught)
    click = teacher.responses.actions["click"]
    rolled = click.rolled
    learned(world(2500, -taste(), seed=2), teacher)
    assert click.rolled > rolled
    assert click.trusted
    assert agreement(served(teacher), -taste()) > 0.7


def test_one_label_alone_is_no_model_to_serve():
    never = learned(seen(n, matrix) for n, matrix in enumerate(matrices(500)))
    assert not never.responses.report()["click"]["served"]
    always = learned(
        seen(n, matrix, tuple(("click", place) for place in range(PLACES)))
        for n, matrix in enumerate(matrices(500))
    )
    for one in (never, always):
        assert np.isfinite(served(one).predict(np.ones((3, WIDTH), np.float32))).all()


def test_constant_features_do_no_harm():
    constant = learned(seen(n, np.ones((PLACES, WIDTH)), (("click", 0),)) for n in range(400))
    assert np.isfinite(served(constant).weights).all()


def test_a_negative_action_is_learned_from_its_first_example():
    draw = np.random.default_rng(4)
    teacher, column = Teacher(Responses()), COLUMN["seen"]
    for n, matrix in enumerate(matrices(1500, seed=4)):
        hidden = np.flatnonzero(draw.random(PLACES) < np.where(matrix[:, column] > 0, 0.3, 0.02))
        teacher.learn(seen(n, matrix, tuple(("hide", int(place)) for place in hidden)))
    teacher.row()
    scorer = served(teacher)
    at = scorer.actions.index("hide")
    rows = np.full((2, WIDTH), 0.2, np.float32)
    rows[:, column] = 0.0, 0.7
    low, high = scorer.predict(rows)[:, at]
    assert high > 3 * low


def test_shards_are_merged_by_what_they_have_seen(taught):
    alone = served(taught)
    assert scorer_of([taught.row(), b"", taught.row()]).version == alone.version
    both = merged([taught.responses, Responses()])
    assert np.array_equal(both.weights[:, 0], alone.weights[:, 0])  # the other one is not to be trusted yet


def test_the_auc_is_that_of_sorting_everything():
    draw = np.random.default_rng(2)
    watch, pairs = window.Window(), []
    for _ in range(5000):
        logit = float(draw.normal(-1, 1.5))
        chosen = bool(draw.random() < window.refused(logit)[0])
        pairs.append((logit, chosen))
        watch.show(logit, 0.0)
        if chosen:
            watch.choose(logit, 0.0)
    yes = np.array([logit for logit, chosen in pairs if chosen])
    no = np.array([logit for logit, chosen in pairs if not chosen])
    exact = (yes[:, None] > no[None, :]).mean()
    assert watch.auc() == pytest.approx(exact, abs=0.01)


def test_a_steady_world_is_no_drift():
    draw = np.random.default_rng(8)
    for rate in (0.02, 0.2):
        watch, alarms = window.Window(), 0
        for _ in range(60_000):
            logit = math.log(rate / (1 - rate)) + float(draw.normal(0, 0.7))
            watch.show(logit, logit)
            if draw.random() < window.refused(logit)[0]:
                watch.choose(logit, logit)
            if watch.whole:
                drifted, watch.test = drift.drifts(watch.test, watch.turn())
                alarms += drifted
        assert alarms == 0
