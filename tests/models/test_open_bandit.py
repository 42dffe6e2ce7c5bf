"""On the Open Bandit Dataset our estimates are those of its own library, obp 0.4.1, computed once (docs/ope.md)."""

import numpy as np
import pytest

from models import policy
from tests.models.open_bandit import log, thompson

# of Thompson sampling from the log of the random policy, by obp's InverseProbabilityWeighting,
# SelfNormalizedInverseProbabilityWeighting and DoublyRobust
OBP = {
    "all": (0.00455288, 0.0047758330812309535, 0.004799730674074699),
    "men": (0.00453356, 0.004604232164349611, 0.004628708704555546),
    "women": (0.006813473999999999, 0.006810965194592502, 0.006801809563705317),
}
STRENGTH = 100  # of the mean in the reward model: clicks of an item, drawn towards those of all


@pytest.mark.parametrize("campaign", OBP)
def test_estimates_are_those_of_the_library_of_the_dataset(campaign):
    item, place, click, propensity = log("random", campaign)
    chances = thompson(campaign)
    each = policy.weights(chances[item, place], propensity)[:, None]
    rewards = click[:, None]
    count, mean = len(chances), click.mean()
    guess = (np.bincount(item, click, count) + STRENGTH * mean) / (
        np.bincount(item, minlength=count) + STRENGTH
    )
    model = policy.Model(guess[item][:, None], (guess @ chances)[place][:, None])
    found = (
        policy.ips(rewards, each), policy.snips(rewards, each), policy.doubly_robust(rewards, each, model)
    )  # fmt: skip
    assert [one.value for one in found] == pytest.approx(OBP[campaign], rel=1e-9)
    if campaign == "all":  # the figure of the library's own README
        assert found[0].value / mean == pytest.approx(1.198126, abs=1e-6)
    served = policy.interval(log("bts", campaign)[2])  # what Thompson sampling was worth when it served
    for one in found:
        low, high = policy.interval(one.each)
        assert low < served[1]
        assert served[0] < high
    assert 0 < policy.effective(each)[0] < len(each) / 2
    assert policy.unsupported(chances.T, np.full(count, 1 / count)).tolist() == [0.0] * 3
