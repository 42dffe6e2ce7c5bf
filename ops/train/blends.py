"""Blends: how a model's logit is added to the online stack's score, from choices that neither learned from."""

import numpy as np

from models.blended import Blend
from models.evaluation import ndcg
from models.features import Floats
from ops.train.rows import Rows
from streams.errors import Refused

WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
LEAST = 100  # choices that a weight is chosen by


def fit_blend(valid: Rows) -> Blend:
    """Return the blend whose weight ranks best; of each candidate `valid` has score and logit, shape (n, 2).

    Raises Refused for too few choices, and where the model knows none of the candidates.
    """
    hits = int(np.count_nonzero(valid.chosen >= 0))
    if hits < LEAST:
        raise Refused(
            f"the validation span holds {hits} choices whose item was a candidate, {LEAST} are needed: take a longer "
            "span, or wait for more events"
        )
    relevance, logits = valid.matrix[:, 0], valid.matrix[:, 1]
    level, rise = expected(relevance, logits)
    blends = [Blend(weight, level, rise) for weight in WEIGHTS]
    return max(blends, key=lambda blend: ndcg(valid.judged(blend.sums(relevance, logits)).rank, 10))


def expected(relevance: Floats, logits: Floats) -> tuple[float, float]:
    """Return level and rise of the line that tells logits from scores with the least squares; a falling one is none.

    >>> expected(np.float32([0, 1, 2, 9]), np.float32([1, 3, 5, np.nan]))
    (1.0, 2.0)
    """
    known = ~np.isnan(logits)
    if not known.any():
        raise Refused("the model knows no candidate of the validation span: train it on the same items")
    x, y = relevance[known].astype(np.float64), logits[known].astype(np.float64)
    spread = float(x.var())
    rise = max(0.0, float(((x - x.mean()) * (y - y.mean())).mean()) / spread) if spread else 0.0
    return float(y.mean()) - rise * float(x.mean()), rise
