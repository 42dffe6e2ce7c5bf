"""What was learned of actions is what ranks, from the row of the learner on."""

from dataclasses import replace

import msgspec
import numpy as np

from api.columns import Columns
from api.engine import Engine, Request
from api.fake import Fake
from api.lore import Lore
from models.action import Action
from models.features import COLUMN, NAMES
from models.learned import COMMON, Common
from models.responses import Responses
from models.scorer import light
from models.surfaces import load
from streams.events import Event
from streams.items import Item

AT = 1_750_000_000_000
ITEMS = {f"i{n}": Item(title=f"i{n}", boost=2.0 if n == 3 else 1.0) for n in range(12)}


def taught(action, feature, weight, bias=-1.0):
    """Responses in which an action hangs on one feature alone."""
    responses = Responses()
    weights = np.zeros(len(NAMES))
    weights[COLUMN[feature]] = weight
    responses.actions[action] = Action(weights, bias)
    return responses


def fake():
    events = [
        Event(
            event_id=f"e{n}{k}",
            type="click",
            at=AT - 9_000 + 10 * n + k,
            user_id=f"u{n % 4}",
            item_id=f"i{n % 7}",
        )
        for n in range(40)
        for k in range(n % 3)
    ]
    return Fake.of(events, ITEMS, AT)


def put(fake, responses):
    common = replace(fake.lore.learned.common, actions=responses.row())
    fake.lore.put(0, COMMON, common.row())


def engine(fake, actions, **more):
    config = load()
    home = msgspec.structs.replace(
        config.surfaces["home"],
        actions=actions,
        diversity=0.0,
        max_per_category=0,
        ttl_s=0.0,
        seen="keep",
        **more,
    )
    home = msgspec.structs.replace(home, explore=msgspec.structs.replace(home.explore, slots=0))
    config = msgspec.structs.replace(config, surfaces={**config.surfaces, "home": home})
    return Engine(fake.state, config, clock=lambda: 0.0)  # no budget is ever spent


def ask(engine):
    return engine.recommend(Request(at=AT, n=10, user_id="u1", surface="home"))


def test_lore_serves_the_packaged_model_until_something_was_learned():
    lore = Lore(Columns())
    assert lore.scorer.version == light().version
    lore.put(0, COMMON, Common(actions=taught("click", "ctr", 3.0).row()).row())
    assert lore.scorer.version != light().version
    lore.clear()
    assert lore.scorer.version == light().version


def test_a_list_is_ranked_by_what_was_learned_and_says_so():
    state = fake()
    before = ask(engine(state, {"click": 1.0}))
    put(state, taught("click", "popular_all", -4.0))
    after = ask(engine(state, {"click": 1.0}))
    assert before.rung == after.rung == "full"
    assert before.models != after.models == {"light": state.lore.scorer.version}
    chosen = state.columns.chosen
    first = [chosen[state.columns.slot_of[item.item_id]] for item in after.items]
    assert first[0] == min(first)


def test_a_negative_action_lowers_what_it_is_predicted_for():
    state = fake()
    put(state, taught("hide", "popular_all", 5.0))
    scores = {item.item_id: item.score for item in ask(engine(state, {"hide": -2.0})).items}
    chosen = {item: state.columns.chosen[state.columns.slot_of[item]] for item in scores}
    assert all(score < 0 for score in scores.values())
    plain = {item: score for item, score in scores.items() if item != "i3"}
    assert min(plain, key=plain.get) == max(plain, key=chosen.get)


def test_a_boost_lifts_a_score_below_zero_too():
    state = fake()
    put(state, taught("hide", "boost", 0.0))
    items = ask(engine(state, {"hide": -2.0})).items
    assert items[0].item_id == "i3"
    assert items[0].score > items[1].score
