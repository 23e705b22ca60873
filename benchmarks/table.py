"""Tables of the results of a run, for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.table import Table

BACKEND_COLUMNS = {
    "images_per_s": "images/s",
    "times_the_pipeline": "x pipeline",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "peak_rss_mb": "peak MB",
    "share_of_peak": "of peak",
    "largest_difference": "score diff.",
    "changed_labels": "labels",
}


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print the results of a run."""
    model = results["model"]
    console.print(
        Group(
            _facts("Machine", results["machine"]),
            f"\n{model['name']}, {model['gflop_per_image']} GFLOP an image",
            _rows("backend", results["engines"], BACKEND_COLUMNS),
            *(
                _rows(f"{backend}: megapixels", sizes)
                for backend, sizes in results["file_to_score"].items()
            ),
            *(
                _facts(name.replace("_", " "), results[name])
                for name in ("classify_12_megapixels", "gallery_12_megapixels", "page", "api")
            ),
        )
    )


def _rows(
    title: str, rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str] | None = None
) -> Table:
    """One row for each name; a number that was not measured is a dash."""
    first = next(iter(rows.values()), {})
    names = columns or {name: name.replace("_", " ") for name in first}
    table = Table(title, *names.values())
    for name, values in rows.items():
        table.add_row(name, *(str(values.get(column, "-")) for column in names))
    return table


def _facts(title: str, facts: Mapping[str, Any]) -> Table:
    """One row for each name and value."""
    table = Table(title, "")
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(name.replace("_", " "), text)
    return table
