"""Card: what a model is, learned from and is worth, in Markdown, for whoever decides whether it shall serve."""

from collections.abc import Mapping
from datetime import UTC, datetime

from ops.train.fit import Fitted
from streams.models import Model

LISTED = 15  # features by importance
BEST = 5  # settings by what they reached
LIMITS = (
    "It ranks what retrieval finds: a choice whose item was no candidate counts as a miss for both. It learned from "
    "what people chose, much of which earlier lists had shown them; nothing here measures what a list causes. It "
    "corrects an online stack that goes on learning, so it ages: train again when what serves has changed."
)


def card(model: Model, fitted: Fitted, choices: Mapping[str, int]) -> str:
    """Return the card of a version that was just measured; `choices` counts them by part."""
    made = datetime.fromtimestamp(model.made_at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    trees = fitted.ranker.trees
    parts = [
        f"# {model.key}",
        f"A boosted ranker: {len(trees.starts)} trees that correct the score of the online stack. Made {made}.",
        "## Data",
        span_of(model),
        ", ".join(f"{name}: {count} choices" for name, count in choices.items())
        + ". Choices follow each other in time: training before validation before test. A choice's candidates and "
        "features are what a request would have had just before it.",
        *measured(model),
        "## Features",
        f"{len(model.features)} are read. Of the loss that splits took away:",
        table(["feature", "share"], [
            [name, f"{share:.1%}"] for name, share in list(fitted.gains.items())[:LISTED] if share > 0
        ]),
        "Left out, the same in all rows: " + (", ".join(fitted.constant) or "none") + ".",
        "## Training",
        f"{len(fitted.trials)} settings were tried, judged by the validation span. The best:",
        table(["objective", "leaves", "rate", "least rows", "l2", "trees", "NDCG@10 on validation"], [
            [trial["objective"], str(trial["num_leaves"]), f"{trial['learning_rate']:.3g}",
             str(trial["min_data_in_leaf"]), f"{trial['lambda_l2']:.3g}", str(trial["trees"]),
             f"{trial['ndcg@10']:.4f}"]
            for trial in sorted(fitted.trials, key=lambda trial: -trial["ndcg@10"])[:BEST]
        ]),
        "## Limits",
        LIMITS,
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def measured(model: Model) -> list[str]:
    """Return the chapter on what a version was measured at."""
    return [
        "## Figures",
        f"On the test span, against {model.against}:",
        table(["", "this model", "compared"], [
            [name, f"{figure:.4g}", f"{model.compared[name]:.4g}" if name in model.compared else ""]
            for name, figure in model.metrics.items()
        ]),
        "NDCG@10 by slice:",
        table(["slice", "choices", "this model", "compared"], [
            [name, str(part.choices), f"{part.ndcg:.4f}", f"{part.compared:.4f}"]
            for name, part in model.slices.items()
        ]),
    ]  # fmt: skip


def span_of(model: Model) -> str:
    """Return what a version learned from."""
    if not model.span:
        return f"The file {model.data}."
    told = [
        f"`{topic}` "
        + ", ".join(f"{n}: {first} to {end - 1}" for n, (first, end) in parts.items() if end > first)
        for topic, parts in model.span.items()
    ]
    of = f"The export {model.data}" if model.data else "The log"
    return f"{of}, offsets by partition: {'; '.join(told)}."


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
