"""Plot: quality over time as one SVG picture, alone or in a page."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.errors import Refused

WIDTH, HEIGHT = 900, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 45
COLOURS = ("#0b6e4f", "#9a9a9a", "#c84630", "#2f5d9b")
STEPS = 5  # lines across

Line = npt.NDArray[np.float64]


def check(file: Path) -> None:
    """Raise Refused for a file that no plot can be written to."""
    if file.suffix not in {".svg", ".html"}:
        raise Refused(f"--plot {file.name}: a plot is an .svg or an .html file")
    if not file.parent.is_dir():
        raise Refused(f"--plot {file}: there is no folder {file.parent}")


def write(file: Path, title: str, x: str, lines: Mapping[str, Line], last: int) -> None:
    """Write lines over the numbers 0 to `last`, which `x` names; each point is the mean of an equal span."""
    drawn = svg(title, x, lines, last)
    if file.suffix == ".html":
        drawn = f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>{drawn}\n"
    file.write_text(drawn)


def svg(title: str, x: str, lines: Mapping[str, Line], last: int) -> str:
    """Return the picture."""
    highest = max((float(line.max()) for line in lines.values() if len(line)), default=0.0) or 1.0
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/><g font-size="12" fill="#333">',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{escape(x)}</text>',
    ]
    for step in range(STEPS + 1):
        share = step / STEPS
        y, along = TOP + high * (1 - share), LEFT + wide * share
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{highest * share:.3f}</text>',
            f'<text x="{along:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{last * share:,.0f}</text>',
        ]
    for n, (name, line) in enumerate(lines.items()):
        colour = COLOURS[n % len(COLOURS)]
        at = (np.arange(len(line)) + 0.5) / max(len(line), 1)
        points = " ".join(
            f"{LEFT + wide * share:.1f},{TOP + high * (1 - value / highest):.1f}"
            for share, value in zip(at, line, strict=True)
        )
        label = WIDTH - RIGHT - 140 * (len(lines) - 1 - n)
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{label}" y="20" text-anchor="end" fill="{colour}">{escape(name)}</text>',
        ]
    return "".join((*parts, "</g></svg>"))
