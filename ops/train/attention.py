"""The sequence model with gradients: the forward pass of `models.sequence` in JAX, its loss, and a step of training.

Only training imports this; it needs the extra `deep`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

COMMON = 0.5  # negatives are drawn by count to this power
MEAN = 0.999  # share of the running mean that is left after a step
STEEPEST = 1.0  # a longer gradient is cut to this length
NEVER = -1e9  # the logit of what is no negative

Weights = dict[str, Any]
Step = Callable[[Any, Any, int, float], tuple[Any, Any]]
_OPTIMISER = optax.chain(optax.clip_by_global_norm(STEEPEST), optax.scale_by_adam())  # Kingma and Ba 2015


def queries(weights: Weights, trails: Any, cut: int = 0, key: Any = None) -> Any:
    """Return the query (rows, length, d) at every place of trails (rows, length), oldest first.

    `cut` in 256 numbers are dropped, drawn with `key`; 0 is ranking.
    """
    blocks, heads, _ = weights["lag"].shape
    keys = jax.random.split(key, 2 * blocks + 1) if cut else [None] * (2 * blocks + 1)
    x = _drop(_norm(weights["item"][trails], weights["scale"][0]), cut, keys[0])
    rows, length, d = x.shape
    far = np.arange(length)[:, None] - np.arange(length)
    for b in range(blocks):
        mixed = _norm(x, weights["scale"][1 + 2 * b]) @ weights["mix"][b]
        q, k, v = jnp.split(mixed.reshape(rows, length, 3 * heads, d // heads), 3, axis=2)
        share = jnp.einsum("bqhe,bkhe->bhqk", q, k) * (d // heads) ** -0.5
        share = jnp.where(far >= 0, share + weights["lag"][b][:, np.maximum(far, 0)], -jnp.inf)
        mixed = jnp.einsum("bhqk,bkhe->bqhe", jax.nn.softmax(share, -1), v).reshape(x.shape)
        x += _drop(mixed @ weights["merge"][b], cut, keys[1 + 2 * b])
        bent = jax.nn.relu(_norm(x, weights["scale"][2 + 2 * b]) @ weights["up"][b])
        x += _drop(bent @ weights["down"][b], cut, keys[2 + 2 * b])
    return _norm(x, weights["scale"][-1])


def loss(weights: Weights, batch: Any, cut: int, negatives: int, chances: Any, key: Any) -> Any:
    """Return the mean cross-entropy of what came next against items drawn by `chances`, each weighed by its chance.

    A batch is trails and what came next, as items (rows, length), and 1 or 0 for what is real of them.
    """
    trails, nexts, real = batch
    (rows, length), n = trails.shape, len(chances)
    drops, draws = jax.random.split(key)
    q = queries(weights, trails, cut, drops)
    others = jax.random.choice(draws, n, (negatives,), p=chances)
    logits = q @ weights["item"][others].T + weights["bias"][others] - jnp.log(chances[others] * negatives)
    place = jnp.where(real > 0, jnp.arange(length), length)
    first = jnp.full((rows, n), length).at[jnp.arange(rows)[:, None], trails].min(place)
    own = first[:, None, others] <= jnp.arange(length)[:, None]
    logits = jnp.where(own | (others == nexts[..., None]), NEVER, logits)
    wanted = (q * weights["item"][nexts]).sum(-1) + weights["bias"][nexts]
    lost = jnp.logaddexp(jax.nn.logsumexp(logits, -1), wanted) - wanted
    return (lost * real).sum() / real.sum()


def stepper(
    initial: Weights, counts: npt.NDArray[np.int64], dropout: float, negatives: int, seed: int
) -> tuple[Any, Step]:
    """Return the state before training (weights, the optimiser's, running mean of weights), and what takes a step.

    A step takes state, batch, the number of steps so far and the rate, and returns the next state and the loss.
    """
    drawn = (counts + 1e-3) ** COMMON
    chances = jnp.asarray(drawn / drawn.sum(), jnp.float32)
    key = jax.random.key(seed, impl="unsafe_rbg")
    weights = {name: jnp.asarray(array) for name, array in initial.items()}

    def step(state: Any, batch: Any, steps: int, rate: float) -> tuple[Any, Any]:
        moment = jax.random.fold_in(key, steps)
        done: tuple[Any, Any] = _step(
            state, batch, steps, rate, chances, moment, round(dropout * 256), negatives
        )
        return done

    return (weights, _OPTIMISER.init(weights), weights), step


@functools.partial(jax.jit, static_argnames=("cut", "negatives"))
def _step(
    state: Any, batch: Any, steps: Any, rate: Any, chances: Any, key: Any, cut: int, negatives: int
) -> Any:
    weights, memory, mean = state
    lost, gradient = jax.value_and_grad(loss)(weights, batch, cut, negatives, chances, key)
    change, memory = _OPTIMISER.update(gradient, memory)
    weights = jax.tree.map(lambda weight, by: weight - rate * by, weights, change)
    kept = jnp.minimum(MEAN, (1 + steps) / (10 + steps))
    mean = jax.tree.map(lambda old, new: old * kept + new * (1 - kept), mean, weights)
    return (weights, memory, mean), lost


def _norm(x: Any, scale: Any) -> Any:
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * scale


def _drop(x: Any, cut: int, key: Any) -> Any:
    if not cut:
        return x
    return jnp.where(jax.random.bits(key, x.shape, jnp.uint8) >= cut, x * (256 / (256 - cut)), 0.0)
