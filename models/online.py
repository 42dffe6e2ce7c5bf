"""Online: River's logistic regression of one action, learned example by example."""

import math
from collections.abc import Sequence

from river import linear_model, optim, utils

from models.action import KEYS, Action, moved
from models.drift import drifts
from models.scale import FIRST, Doubles, Scale

TRUSTED = 50  # choices before a model is served
HARM = 1.01  # times the default's loss that is too much
BEGIN = 50  # choices that tell the rate and the slope before anything else is learned
SETTLE = 25.0  # choices in which the default's steps towards the true rate are halved, and after which its slope turns
LEAST = 0.02  # of these steps
SURE = 20.0  # information that the default's own slope is worth,
MOST = 1000.0  # and the most that counts of what came since: it never stops learning
FLAT, STEEP = 0.01, 3.0  # slopes at most: none turns an order around


class Apart(optim.losses.Log):  # type: ignore[misc]
    """The logistic loss log(1 + exp z) - y z in two examples: False says the first term, True the second.

    An item is shown first and chosen later, if at all. So nothing waits for a window to close, no choice is learned as
    a refusal that must be put right (Ktena et al. 2019, "Addressing delayed feedback for continuous training with
    neural networks in CTR prediction"), and the sum is the loss of somebody who had waited.
    """

    def gradient(self, y_true: bool, y_pred: float) -> float:
        """Return the derivative of the term."""
        return -1.0 if y_true else float(super().gradient(False, y_pred))


class Falling(optim.base.Scheduler):  # type: ignore[misc]
    """A rate that falls with the root of the steps, within bounds: it never stops learning."""

    def __init__(self, top: float, most: float, least: float) -> None:
        self.top, self.most, self.least = top, most, least

    def get(self, t: int) -> float:
        """Return the rate of a step."""
        return max(self.least, min(self.most, self.top / math.sqrt(t + 1)))


class Model:
    """Learns one action; predicts before it learns. Weights are in `river`, and in the action after `settle`."""

    def __init__(self, action: Action, scale: Scale) -> None:
        self.action = action
        self._scale, self._middle = scale, action.middle(scale)
        self._set(action.weights or action.begun(scale), action.steps)

    def _set(self, weights: Sequence[float], steps: int) -> None:
        """Make River's model of a bias and a weight for each of `KEYS`."""
        self.river = linear_model.LogisticRegression(
            optim.SGD(Falling(0.3, 0.02, 0.001)), Apart(),
            intercept_init=weights[0], intercept_lr=Falling(1.0, 0.1, 0.01),
        )  # fmt: skip
        vars(self.river)["_weights"] = utils.VectorDict(
            dict(zip(KEYS, weights[1:], strict=True))
        )  # no other way
        self.river.optimizer.n_iterations = steps

    def weights(self) -> list[float]:
        """Return the bias and a weight for each of `KEYS`."""
        known = self.river.weights
        return [self.river.intercept, *(known[key] for key in KEYS)]

    def settle(self) -> None:
        """Write into the action what is in River's model."""
        self.action.weights, self.action.steps = self.weights(), self.river.optimizer.n_iterations

    def show(self, x: dict[str, float], lean: float, less: float) -> None:
        """Predict, then learn that an item with the features `x` was shown.

        `lean` is how far the default model's log-odds are from those of the mean, `less` what its place makes of them.
        """
        action, learns = self.action, self.action.chosen >= BEGIN
        default = self._default(lean, less)
        chance = action.window.show(self._logit(x) if learns else default, default)
        action.shift -= self._step() * chance
        self._turn(-chance * lean, chance * (1.0 - chance) * lean * lean)
        action.shown += 1
        if learns:
            self.river.learn_one(x, False)
            if action.window.whole:
                self._judge()

    def choose(self, x: dict[str, float], lean: float, less: float) -> None:
        """Predict, then learn that a shown item was chosen."""
        action, learns = self.action, self.action.chosen >= BEGIN
        default = self._default(lean, less)
        action.window.choose(self._logit(x) if learns else default, default)
        action.shift += self._step()
        self._turn(lean, 0.0)
        action.chosen += 1
        if learns:
            self.river.learn_one(x, True)
        elif action.chosen == BEGIN:
            self._set(action.begun(self._scale), 0)
            action.window.forget()

    def rescale(self, old: tuple[Doubles, Doubles]) -> None:
        """Say the same under the scale of now as under the old means and deviations."""
        self._set(moved(self.weights(), old, self._scale), self.river.optimizer.n_iterations)
        middle, self._middle = self._middle, self.action.middle(self._scale)
        self.action.shift += (1.0 - self.action.slope) * (middle - self._middle)
        if self.action.good:
            self.action.good = moved(self.action.good, old, self._scale)

    def _default(self, lean: float, less: float) -> float:
        return self._middle + self.action.shift + self.action.slope * lean + less

    def _turn(self, gain: float, information: float) -> None:
        """Take a step of Newton's with the slope, once the features have a mean and the action has a rate."""
        action = self.action
        if self._scale.count >= FIRST and action.chosen >= SETTLE:
            action.certain = min(action.certain + information, MOST)
            action.slope = min(STEEP, max(FLAT, action.slope + gain / (SURE + action.certain)))

    def _step(self) -> float:
        return max(LEAST, SETTLE / (SETTLE + self.action.chosen))

    def _logit(self, x: dict[str, float]) -> float:
        p = self.river.predict_proba_one(x)[True]
        if not 0.0 <= p <= 1.0:
            self._roll_back()
            p = self.river.predict_proba_one(x)[True]
        p = max(1e-13, min(1.0 - 1e-13, p))
        return math.log(p / (1.0 - p))

    def _judge(self) -> None:
        """Trust the model, or take it back, by what the window says."""
        action, window = self.action, self.action.window
        drifted, window.test = drifts(window.test, window.turn())
        if drifted or not all(map(math.isfinite, self.weights())):
            self._roll_back()
        elif window.full and window.loss() > HARM * window.default():
            self._roll_back(self.river.optimizer.n_iterations)  # learning on as fast would harm again
        else:
            action.trusted = action.trusted or (window.full and action.chosen >= TRUSTED)
            if action.trusted:
                action.good = self.weights()

    def _roll_back(self, steps: int = 0) -> None:
        """Go back to the last good weights, or to the packaged ones when those do no better; a new window decides."""
        action = self.action
        self._set(action.good or action.begun(self._scale), steps)
        action.good = []  # they have one window to prove themselves again
        action.window.forget()
        action.trusted = False
        action.rolled += 1
