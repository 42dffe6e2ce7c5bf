"""Report: the figures of a run, as a program reads them and as a person does."""

from typing import Any

from rich.console import Console
from rich.table import Table

from models.evaluation import Judged, coverage, gini, hit_rate, mrr, ndcg, slices
from ops.evaluate.judge import Judge
from ops.evaluate.protocols import Took

COST = ("events_per_s", "fold_us", "learn_us", "rank_us", "seconds", "rss_mb")
METRICS = {
    "hr": hit_rate,
    "ndcg": ndcg,
    "mrr": mrr,
    "recall": hit_rate,
}  # with one choice to find, recall is HR


def quality(judged: Judged, ks: list[int]) -> dict[str, Any]:
    """Return each metric at each k, of the model and, in the same run, of plain popularity."""
    figures: dict[str, Any] = {"predicted": len(judged)}
    for prefix, ranks in (("", judged.rank), ("popular_", judged.popular)):
        figures |= {f"{prefix}{name}@{k}": of(ranks, k) for k in ks for name, of in METRICS.items()}
    return figures


def figures(judge: Judge) -> dict[str, Any]:
    """Return everything that ranks and lists say: overall, of the second half, and by slice.

    A user's first choice, with nothing known before it, counts in `after_0` alone.
    """
    judged, ks, items = judge.judged(), judge.ks, judge.items
    known = judged.where(judged.earlier > 0)
    said = quality(known, ks) | {"never_seen": int((known.chosen == 0).sum())}
    for k in ks:
        shown = judge.shown[k][:items]
        said |= {
            f"coverage@{k}": coverage(shown),
            f"gini@{k}": gini(shown),
            f"novelty@{k}": judge.bits[k] / len(known) if len(known) else 0.0,
        }
    said["second_half"] = quality(known.where(slice(len(known) // 2, None)), ks)
    said["slices"] = {name: quality(judged.where(mask), ks[:1]) for name, mask in slices(judged).items()}
    return said


def cost(took: Took) -> dict[str, float]:
    """Return what an event and a prediction cost; events/s are of folding and learning alone."""
    events, predictions = max(took.events, 1), max(took.predictions, 1)
    return {
        "events_per_s": took.events / max(took.folding + took.learning, 1e-9),
        "fold_us": 1e6 * took.folding / events,
        "learn_us": 1e6 * took.learning / events,
        "rank_us": 1e6 * took.ranking / predictions,
    }


def show(said: dict[str, Any], ks: list[int]) -> None:
    """Print the figures for a person."""
    out = Console(highlight=False, soft_wrap=True)
    out.print(_read(said))
    out.print(_qualities(said, ks))
    out.print(_slices(said, ks[0]))
    if said["losses"]:
        out.print(_losses(said, ks[0]))
    for k in ks:
        out.print(
            *(f"{name}@{k}={said[f'{name}@{k}']:.4f}" for name in ("coverage", "gini", "novelty")), sep="  "
        )
    out.print(*(f"{name}={said[name]:,.0f}" for name in COST), sep="  ")


def _read(said: dict[str, Any]) -> str:
    columns = said["columns"]
    refused = "".join(f", {count:,} refused with {why}" for why, count in said["refused"].items())
    left_out = f", {said['left_out']:,} left out by --positive" if said["left_out"] else ""
    every = f", each {said['every']}th" if said["every"] > 1 else ""
    shards = f"; {said['shards']} shards learned apart" if said["shards"] > 1 else ""
    return (
        f"{said['rows']:,} rows{refused}{left_out}; user={columns['user']} item={columns['item']} "
        f"at={columns['at']} ({said['time']})\n"
        f"{said['events']:,} events of {said['users']:,} users and {said['items']:,} items; {said['protocol']}: "
        f"{said['predicted']:,} discoveries predicted{every}, {said['never_seen']:,} of items never seen before{shards}"
    )


def _qualities(said: dict[str, Any], ks: list[int]) -> Table:
    names = [f"{name}@{k}" for k in ks for name in ("hr", "ndcg", "mrr")]
    table = Table("", *names)
    for title, part in (("", said), (", second half", said["second_half"])):
        table.add_row(f"model{title}", *(f"{part[name]:.4f}" for name in names))
        table.add_row(f"popular{title}", *(f"{part[f'popular_{name}']:.4f}" for name in names))
    return table


def _slices(said: dict[str, Any], k: int) -> Table:
    names = [f"hr@{k}", f"ndcg@{k}", f"popular_hr@{k}"]
    table = Table("slice", "predicted", *names)
    for title, part in said["slices"].items():
        table.add_row(title, f"{part['predicted']:,}", *(f"{part[name]:.4f}" for name in names))
    return table


def _losses(said: dict[str, Any], k: int) -> Table:
    names = [f"exact_hr@{k}", f"hr@{k}"]
    table = Table("lost by", "predicted", *names, "loss")
    for title, part in said["losses"].items():
        table.add_row(
            title, f"{part['predicted']:,}", *(f"{part[name]:.4f}" for name in names), f"{part['loss']:.2%}"
        )
    return table
