"""From a matplotlib figure to an inline SVG: accessible, in the colours of the page, ids unique within the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, BLUE, ORANGE, PANEL = "#1f2a33", "#56616b", "#d9dee2", "#0a5aa8", "#ad4e05", "#fefefd"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", BLUE: "blue", ORANGE: "orange", PANEL: "panel"}
_IDS = re.compile(r'(\bid="|xlink:href="#|url\(#)')
_FONTS = re.compile(r" ?font-family: [^;\"]*;?")


@contextmanager
def figure(width: float = 4.3, height: float = 2.9) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure in the report's style, in inches of 72 units; draw and render it inside the block."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    plain = {key: value for key, value in matplotlib.rcParamsDefault.items() if key.split(".")[0] in _FAMILIES}
    style: Any = {**plain, **_STYLE}
    with matplotlib.rc_context(style):
        canvas = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(canvas)
        yield canvas, canvas.add_subplot()


def render(canvas: Figure, ident: str, title: str, description: str) -> str:
    """The figure as an `<svg>` element whose ids all start with `ident`."""
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawn = buffer.getvalue()
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"\n\s*", "\n", body)
    body = _FONTS.sub("", body)
    body = _IDS.sub(rf"\g<1>{ident}-", body).replace("xlink:href", "href")
    for colour, name in _VARIABLES.items():
        body = body.replace(colour, f"var(--{name})")
    width, height = (72 * inches for inches in canvas.get_size_inches())
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{ident}-title {ident}-desc">'
        f'<title id="{ident}-title">{html.escape(title)}</title>'
        f'<desc id="{ident}-desc">{html.escape(description)}</desc>{body}</svg>'
    )


_FAMILIES = {"axes", "figure", "font", "grid", "legend", "lines", "path", "patch", "savefig", "svg", "text"}
_FAMILIES |= {"xaxis", "xtick", "yaxis", "ytick"}
_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "privaudit",
    "svg.id": None,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.0,
    "legend.handletextpad": 0.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.minor.visible": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "path.simplify": True,
}
