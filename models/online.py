"""Online: one logistic regression of River for one action, learned example by example, its state plain numbers.

It begins as the packaged model and learns with the scaled features and a term for the place an item was shown at.
Served, the place is the first one: what position alone explains is left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from river import linear_model, optim, utils

from models.drift import Watch, chance
from models.features import NAMES
from models.scale import Doubles, Scale

PLACES = (1, 2, 3, 5, 10, 20)  # first place of each bucket but that of place 0, which needs no term
AT_PLACE = (
    3.0  # what stands for being there: as much as other features vary, for it is learned as fast as they
)
PLACED = tuple(f"place:{place}" for place in PLACES)
KEYS = (*NAMES, *PLACED)
TRUSTED = 50  # choices before a model is served
HARM = 1.01  # times the default's loss that is too much
BEGIN = 10  # choices that tell the rate before anything else is learned
SETTLE = 4.0  # choices in which the default's steps towards the true rate are halved
LEAST = 0.02  # of these steps


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


@dataclass
class Default:
    """The model an action starts from: weights of the features as they are, (features,), and a bias.

    `shift` follows how often the action really happens.
    """

    weights: Doubles
    bias: float
    shift: float = 0.0


class Model:
    """One action's model. `good` are its weights when they last did better than the default over a whole window."""

    def __init__(self, default: Default, scale: Scale) -> None:
        self.default = default
        self.watch = Watch()
        self.good: list[float] = []
        self.shown = self.chosen = self.rolled = 0
        self.trusted = False
        self._set(_started(default, scale))

    def _set(self, weights: Sequence[float], steps: int = 0) -> None:
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

    def show(self, x: dict[str, float], default: float, scale: Scale) -> None:
        """Predict, then learn that an item with the features `x` was shown; `default` is the default model's logit."""
        default += self.default.shift
        logit = default if self.chosen < BEGIN else self._logit(x, scale)
        self.watch.show(logit, default)
        self.default.shift -= self._step() * chance(default)
        self.shown += 1
        if self.chosen >= BEGIN:
            self.river.learn_one(x, False)
            if self.watch.whole:
                self._judge(scale)

    def choose(self, x: dict[str, float], default: float, scale: Scale) -> None:
        """Predict, then learn that a shown item was chosen."""
        default += self.default.shift
        logit = default if self.chosen < BEGIN else self._logit(x, scale)
        self.watch.choose(logit, default)
        self.default.shift += self._step()
        self.chosen += 1
        if self.chosen > BEGIN:
            self.river.learn_one(x, True)
        elif self.chosen == BEGIN:
            self._set(_started(self.default, scale))
            self.watch.forget()

    def _step(self) -> float:
        return max(LEAST, SETTLE / (SETTLE + self.chosen))

    def _logit(self, x: dict[str, float], scale: Scale) -> float:
        p = self.river.predict_proba_one(x)[True]
        if not 0.0 <= p <= 1.0:
            self.roll_back(scale)
            p = self.river.predict_proba_one(x)[True]
        p = max(1e-13, min(1.0 - 1e-13, p))
        return math.log(p / (1.0 - p))

    def _judge(self, scale: Scale) -> None:
        """Trust the model, or take it back, by what the window says."""
        if self.watch.turn() or not all(map(math.isfinite, self.weights())):
            self.roll_back(scale)
            return
        full = self.watch.full
        if full and self.watch.loss() > HARM * self.watch.default():
            self.roll_back(scale, self.river.optimizer.n_iterations)  # learning on as fast would harm again
            return
        self.trusted = self.trusted or (full and self.chosen >= TRUSTED)
        if self.trusted:
            self.good = self.weights()

    def roll_back(self, scale: Scale, steps: int = 0) -> None:
        """Go back to the last good weights, or to the packaged ones when those do no better; a new window decides."""
        self._set(self.good or _started(self.default, scale), steps)
        self.good = []  # they have one window to prove themselves again
        self.watch.forget()
        self.trusted = False
        self.rolled += 1

    def rescale(self, old: tuple[Doubles, Doubles], scale: Scale) -> None:
        """Say the same under another scale as under the old means and deviations."""
        steps = self.river.optimizer.n_iterations
        self._set(_moved(self.weights(), old, scale), steps)
        if self.good:
            self.good = _moved(self.good, old, scale)

    def compiled(self, scale: Scale) -> tuple[Doubles, float]:
        """Return weights of the features as they are, (features,), and a bias: of the first place, and calibrated."""
        default = self.default
        if not self.trusted:
            return default.weights, default.bias + default.shift
        weights, bias = flat(self.weights(), scale)
        return weights, bias + self.watch.correction()

    def numbers(self) -> list[object]:
        """Return everything as a row holds it."""
        default = self.default
        return [
            default.weights.tobytes(), default.bias, default.shift, self.weights(), self.river.optimizer.n_iterations,
            self.good, self.watch.numbers(), self.shown, self.chosen, self.rolled, self.trusted,
        ]  # fmt: skip

    @classmethod
    def of(cls, numbers: Sequence[object], scale: Scale) -> "Model":
        """Return what `numbers` was made of."""
        weights, bias, shift, now, steps, good, watch, shown, chosen, rolled, trusted = numbers
        model = cls(Default(np.frombuffer(weights), bias, shift), scale)  # type: ignore[arg-type,call-overload]
        model._set(now, steps)  # type: ignore[arg-type]
        model.good, model.watch = good, Watch.of(watch)  # type: ignore[assignment,arg-type]
        model.shown, model.chosen, model.rolled, model.trusted = shown, chosen, rolled, trusted  # type: ignore[assignment]
        return model


def flat(weights: Sequence[float], scale: Scale) -> tuple[Doubles, float]:
    """Return weights of the features as they are, and a bias, of a bias and weights for `KEYS`."""
    scaled = np.array(weights[1 : 1 + len(NAMES)]) / scale.deviation
    return scaled, float(weights[0] - (scaled * scale.mean).sum())


def bucket(place: int) -> str | None:
    """Return the term of a place, None for the first.

    >>> bucket(0), bucket(4), bucket(400)
    (None, 'place:3', 'place:20')
    """
    key = None
    for first, name in zip(PLACES, PLACED, strict=True):
        if place >= first:
            key = name
    return key


def seen_less(place: int) -> float:
    """Return by how much less likely a place is looked at than the first, as log-odds nearly; `models.items` too."""
    return -math.log(math.log2(place + 2))


def _started(default: Default, scale: Scale) -> list[float]:
    """Return the default model as a bias and weights for `KEYS`."""
    bias = default.bias + default.shift + float((default.weights * scale.mean).sum())
    return [
        bias,
        *(default.weights * scale.deviation).tolist(),
        *(seen_less(place) / AT_PLACE for place in PLACES),
    ]


def _moved(weights: Sequence[float], old: tuple[Doubles, Doubles], scale: Scale) -> list[float]:
    mean, deviation = old
    features = np.array(weights[1 : 1 + len(NAMES)])
    raw = features / deviation
    bias = weights[0] + float((raw * (scale.mean - mean)).sum())
    return [bias, *(raw * scale.deviation).tolist(), *weights[1 + len(NAMES) :]]
