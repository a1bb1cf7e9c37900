"""What a person sees of a run in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

console = Console()
FIRST = ("cycle", "labeled", "share")


def print_cycle(metrics: Mapping[str, float], cycles: int, selected: Sequence[str]) -> None:
    """Print a cycle's numbers: what was labeled, the headline metrics and the first of the selected units."""
    table = Table(title=f"cycle {metrics['cycle']:.0f} of 0..{cycles - 1}", title_justify="left")
    headline = {name: value for name, value in metrics.items() if name not in FIRST and not name.startswith("IoU/")}
    for name in (*FIRST, *headline):
        table.add_column(name, justify="right")
    table.add_column("selected")
    shown = [f"{value:.4f}" if isinstance(value, float) and value <= 1 else f"{value:g}" for value in headline.values()]
    more = f" and {len(selected) - 4} more" if len(selected) > 4 else ""
    picks = ", ".join(selected[:4]) + more if selected else "none: last cycle"
    table.add_row(f"{metrics['cycle']:.0f}", f"{metrics['labeled']:.0f}", f"{metrics['share']:.1%}", *shown, picks)
    console.print(table)
