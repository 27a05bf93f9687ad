"""Line charts as SVG, nothing else: a logarithmic axis of sizes across, and a linear one of costs up from zero."""

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 56
# Told apart by color-blind readers too, and by their markers in print.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def line_chart(title: str, across: str, up: str, series: Mapping[str, Points]) -> str:
    """One chart of several lines; each point is (size, cost). A size of 0 stands at the left edge."""
    points = [point for one in series.values() for point in one]
    sizes = sorted({size for size, _ in points})
    top = _nice(max(cost for _, cost in points) * 1.15)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end" fill="#555555">{escape(across)}</text>',
        f'<text x="8" y="{TOP - 6}" fill="#555555">{escape(up)}</text>',
    ]
    for step in range(5):
        cost = top * step / 4
        y = _y(cost, top)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(cost)}</text>')
    for size in sizes:
        x = _x(size, sizes)
        out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_number(size)}</text>')
    for number, (name, line) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        places = [(_x(size, sizes), _y(cost, top)) for size, cost in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in places]
        x = LEFT + number * 180
        out.append(f'<rect x="{x}" y="{HEIGHT - 18}" width="10" height="10" fill="{color}"/>')
        out.append(f'<text x="{x + 14}" y="{HEIGHT - 9}">{escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])


def _x(size: float, sizes: Sequence[float]) -> float:
    positive = [one for one in sizes if one > 0]
    first, last = math.log10(positive[0]), math.log10(positive[-1])
    # Where there is a size of 0 it takes one step left of the smallest.
    lead = 1 if sizes[0] <= 0 else 0
    span = max(last - first, 1e-9) + lead
    at = 0.0 if size <= 0 else math.log10(size) - first + lead
    return LEFT + at / span * (WIDTH - LEFT - RIGHT)


def _y(cost: float, top: float) -> float:
    return HEIGHT - BOTTOM - cost / top * (HEIGHT - TOP - BOTTOM)


def _nice(value: float) -> float:
    """The next round number up."""
    if value <= 0:
        return 1.0
    unit = 10 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 4, 5, 8, 10) if step * unit >= value)


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
