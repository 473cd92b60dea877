"""The look of the figures: colours, one matplotlib style, and SVG with equal bytes for equal data."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlhf.base.names import split_name

INK, MUTED, RULE, PAPER = "#22272e", "#6a727d", "#dfe2e6", "#fffffe"
THEMED = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}
"""Colours of the figures that follow the page's light or dark theme, and the CSS variables that hold them."""
BASE_COLOUR = "#8b939e"
HUES = ("#3a7bd5", "#e0762f", "#2c9c6a", "#9a5fd0", "#d2425f", "#1d9aae", "#b07a2a", "#d359a3", "#7f9422", "#5d6fd6")
"""Of middle lightness: each is legible on white and on near-black."""
LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)))
WIDTH = 5.0
"""Inches. Narrow, so that its text can be read on a phone."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.7,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "figure.constrained_layout.use": True,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the report, ignoring the user's matplotlib configuration."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        cast(dict[str, Any], matplotlib.rcParams).update(STYLE)
        yield


def new_figure(height: float) -> tuple[Figure, Axes]:
    """A figure of `WIDTH` by `height` inches with one pair of axes."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.add_subplot()


def policy_colours(policies: Sequence[str]) -> dict[str, str]:
    """One hue per variant, in the order of appearance; `base` is grey."""
    variants = list(dict.fromkeys(split_name(policy)[0] for policy in policies if split_name(policy)[1]))
    hues = {variant: HUES[i % len(HUES)] for i, variant in enumerate(variants)}
    return {policy: hues.get(split_name(policy)[0], BASE_COLOUR) for policy in policies}


def iteration_line(policy: str) -> str | tuple[int, tuple[float, ...]]:
    """Solid in the first iteration, then dashed, dotted, ..."""
    return LINES[(max(split_name(policy)[1], 1) - 1) % len(LINES)]


def add_legend(figure: Figure, axes: Axes) -> None:
    """Add a legend below the axes if there is more than one series."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        widest = 48 + 5.6 * max(len(label) for label in labels)  # points: the line, and about so much per letter
        columns = max(1, min(len(labels), int(WIDTH * 72 // widest)))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def to_svg(figure: Figure, name: str) -> str:
    """The figure as SVG without a date; its identifiers depend only on `name` and the data.

    Args:
        name: of the figure, in the characters of an XML identifier; different figures of a page need different names.
    """
    buffer = io.StringIO()
    matplotlib.rcParams["svg.hashsalt"] = name
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px sans-serif", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(url\(#|href="#)', rf"\1{name}-", svg)


def inline(svg: str, label: str) -> str:
    """The SVG to put into a page: scaled by CSS, coloured by the page's theme, with `label` for screen readers.

    Args:
        label: text without markup.
    """
    svg = svg[svg.index("<svg") :]
    for colour, variable in THEMED.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    escaped = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return re.sub(r"<svg", f'<svg role="img" aria-label="{escaped}"', svg, count=1)
