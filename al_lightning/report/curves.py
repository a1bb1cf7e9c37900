"""Learning curves: a metric over the number of labeled units."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from al_lightning.report.tables_numbers import scale, with_unit

BOOKKEEPING = ("cycle", "labeled", "share")


def learning_curve(metrics: Sequence[Mapping[str, float]]) -> str:
    """Draw the headline metric with its variants, such as ``majority/mIoU`` and ``night/mIoU``, over the labeled units.

    Args:
        metrics: one row a cycle, as in ``metrics.csv``: ``labeled``, and metrics, of which the first is the headline.

    Returns:
        An SVG document in the units of the tables, the same text for the same numbers.

    Raises:
        ValueError: there is no row, or it has no metric.
    """
    headline = next((name for row in metrics for name in row if name not in BOOKKEEPING), None)
    if headline is None:
        raise ValueError(f"no metric to draw in {len(metrics)} rows")
    names = dict.fromkeys(name for row in metrics for name in row if name.split("/")[-1] == headline)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name in names:
        rows = [row for row in metrics if name in row]
        axes.plot(
            [row["labeled"] for row in rows],
            [row[name] * scale(name) for row in rows],
            marker="o",
            markersize=4,
            linewidth=2.2 if name == headline else 1.2,
            linestyle="-" if name == headline else "--",
            label=name,
        )
    axes.set_xlabel("labeled units")
    axes.set_ylabel(with_unit(headline))
    axes.set_xticks(sorted({row["labeled"] for row in metrics}))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "al_lightning", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
