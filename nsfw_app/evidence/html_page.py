"""HTML files that stand alone: one file, no script, no image, nothing loaded from elsewhere."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

WIDTH, HEIGHT = 320, 220  # of a plot's area, in the units of its view box


def render(template: str, **values: Any) -> str:
    """An HTML file from a template of this package; values are escaped.

    Args:
        template: File name in `templates/`.
        values: What it shows.
    """
    environment = Environment(
        loader=PackageLoader("nsfw_app.evidence"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": points, "score": score, "percent": percent, "count": count}
    return environment.get_template(template).render(width=WIDTH, height=HEIGHT, **values)


def points(pairs: Iterable[tuple[float, float]]) -> str:
    """Points of an SVG polyline from x and y in [0, 1], y upward."""
    return " ".join(f"{x * WIDTH:.1f},{(1 - y) * HEIGHT:.1f}" for x, y in pairs)


def score(value: float | None) -> str:
    """A number with three decimals."""
    return "not defined" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share with one decimal, and a space that does not break; below 1 it is not 100.0 %."""
    if value is None:
        return "not known"
    digits = next((n for n in range(1, 12) if value >= 1 or round(100 * value, n) < 100), 1)
    return f"{100 * value:.{digits}f}\u00a0%"


def target_percent(share: float) -> str:
    """A share that was set, with all of its digits, so that it is never rounded up."""
    exact = format(100 * Decimal(str(share)), "f").rstrip("0")
    whole, _, decimals = exact.partition(".")
    return f"{whole}.{decimals or '0'}\u00a0%"


def count(value: float | None) -> str:
    """A number of things, with separators."""
    return "not known" if value is None else f"{value:,.0f}"
