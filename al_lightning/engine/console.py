"""What a person sees of a run in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

console = Console()
FIRST = ("cycle", "labeled", "share")


def print_cycle(metrics: Mapping[str, float], cycles: int, selected: Sequence[str]) -> None:
    """Print a cycle in one row: what was labeled, the headline metric with its references, the first selected units.

    The headline is the first metric after cycle, labeled and share; ``majority/mIoU`` is a reference of ``mIoU``.
    """
    headline = next((name for name in metrics if name not in FIRST), "")
    shown = [name for name in metrics if headline and name.split("/")[-1] == headline]
    table = Table(title=f"cycle {metrics['cycle']:.0f} of 0..{cycles - 1}", title_justify="left")
    for name in ("labeled", "share", *shown):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("selected")
    more = f" and {len(selected) - 4} more" if len(selected) > 4 else ""
    picks = ", ".join(selected[:4]) + more if selected else "none: last cycle"
    values = [f"{metrics[name]:.4f}" for name in shown]
    table.add_row(f"{metrics['labeled']:.0f}", f"{metrics['share']:.1%}", *values, picks)
    console.print(table)
