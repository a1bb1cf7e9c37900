"""Do distances between scenes tell how dangerous they are? Correlations and the picture of the planning paper's Fig. 2.

``python -m al_lightning.report.embeddings RUN`` looks at a run from outside, after the fact: it reads the labels of all
scenes, those of the pool, too. Nothing that it computes or writes is read by a selection.

Shape letters: N scenes, M scenes that an encoder is fitted on, D size of an embedding.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from torch import Tensor

from al_lightning.acquisition import SceneRepresentation
from al_lightning.acquisition.functional import neighborhood_correlation
from al_lightning.config import ConfigError, instantiate
from al_lightning.data import LabelPool
from al_lightning.report.projection import project
from al_lightning.types import DataFileError, Summary

CYCLE = 0
"""The cycle whose planner is looked at: the first one, trained on the seed set. "Trained on all 700 scenes" is read as
said of the encoder alone."""


@dataclass(frozen=True)
class Fitted:
    """All scenes in the space of one encoder.

    Attributes:
        name: what it was fitted on, in words.
        members: (N,) bool, the scenes that it was fitted on.
        embedding: (N, D).
        correlation: Pearson's over all pairs of neighbours, see `neighborhood_correlation`.
        mean_correlation: the mean of that of each scene.
        loss: at the end of the fit.
    """

    name: str
    members: Tensor
    embedding: Tensor
    correlation: float
    mean_correlation: float
    loss: float


def fit_encoders(
    scenes: Summary, seed_set: Tensor, representation: SceneRepresentation, generator: torch.Generator
) -> list[Fitted]:
    """Fit an encoder on all scenes and one on the seed set; embed all scenes with both, by one pass without dropout.

    Args:
        scenes: ``error_window`` (N, H, 2) and ``safety`` (N, H) of all.
        seed_set: (N,) bool, the scenes labeled first.
        representation: fits and embeds.
        generator: source of randomness.
    """
    fitted = []
    for name, members in (("all scenes", torch.ones_like(seed_set)), ("the seed set", seed_set)):
        loss = representation.fit(scenes.take(members.nonzero().flatten()), generator)
        embedding = representation.embed(scenes)["embedding"]
        pairs = neighborhood_correlation(embedding, scenes["safety"])
        mean = neighborhood_correlation(embedding, scenes["safety"], per="scene")
        fitted.append(Fitted(name, members, embedding, pairs, mean, float(loss[-1])))
    return fitted


def draw(fitted: Sequence[Fitted], safety: Tensor, perplexity: float) -> Figure:
    """The embeddings side by side, coloured by the largest component of the safety states (N, H)."""
    danger = safety.amax(1).numpy()
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    row = figure.subplots(1, len(fitted))
    for letter, axes, one in zip("ab", row, fitted, strict=True):
        points = project(one.embedding, perplexity)
        order = danger.argsort()  # the dangerous ones on top
        dots = axes.scatter(
            *points[order].T, c=danger[order], s=16, vmin=0, vmax=danger.max(), edgecolors="0.3", linewidths=0.3
        )
        if not bool(one.members.all()):
            axes.scatter(*points[one.members.numpy()].T, s=45, facecolors="none", edgecolors="black", label="fitted on")
            axes.legend(fontsize=8, handletextpad=0.1)
        axes.set_title(
            f"({letter}) encoder fitted on {one.name} ({int(one.members.sum())}), $\\rho = {one.correlation:.2f}$",
            fontsize=9,
        )
        axes.set(xticks=[], yticks=[], box_aspect=1)
    figure.colorbar(dots, ax=row, label="largest soft collision cost", shrink=0.85)
    return figure


# --- a run ------------------------------------------------------------------------------------------------------------


def scenes_of(run: Path, config: Mapping[str, Any]) -> tuple[Summary, Tensor]:
    """What the first cycle's planner made of all scenes, with their safety states, and the seed set (N,) bool.

    Raises:
        FileNotFoundError: the run has not summarized its pool.
        DataFileError: labels of a scene are missing.
    """
    with np.load(run / f"cycles/{CYCLE}/summaries.npz", allow_pickle=False) as file:
        fields = {name: torch.from_numpy(file[name]) for name in file.files}
    summary = Summary(fields.pop("units"), fields)
    pool = LabelPool.from_csv((run / "pool.csv").read_text())
    dataset = instantiate(config["data"], "data", split="train")
    summarizer = instantiate(config["summarizer"], "summarizer")
    summary = summarizer.with_labels(summary, lambda row: dataset.sample(row).annotations)
    return summary, torch.from_numpy(pool.acquired_at == 0)[summary.units]


def analyse(run: Path, out: Path, perplexity: float) -> list[Fitted]:
    """Fit, measure and draw; writes ``correlations.csv`` and ``embeddings.svg``.

    Raises:
        ValueError: the run learns no scene representation, or the perplexity does not fit the number of scenes.
    """
    config = yaml.safe_load((run / "config.yaml").read_text())
    representation = instantiate(config["acquisition"], "acquisition").representation
    if not isinstance(representation, SceneRepresentation):
        raise ValueError(f"{run} learns no scene representation: its acquisition is not the planning paper's")
    scenes, seed_set = scenes_of(run, config)
    if not 0 < perplexity < len(scenes):
        raise ValueError(f"perplexity must be positive and below the number of scenes, {len(scenes)}; got {perplexity}")
    fitted = fit_encoders(scenes, seed_set, representation, torch.Generator().manual_seed(config["seed"]))
    figure = draw(fitted, scenes["safety"], perplexity)
    out.mkdir(parents=True, exist_ok=True)
    (out / "correlations.csv").write_text(_table(fitted))
    with mpl.rc_context({"svg.hashsalt": "al_lightning", "svg.fonttype": "none"}):
        figure.savefig(out / "embeddings.svg", metadata={"Date": None})
    return fitted


def _table(fitted: Sequence[Fitted]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["fitted_on", "scenes", "embedded", "correlation", "mean_correlation", "last_loss"])
    for one in fitted:
        numbers = one.correlation, one.mean_correlation, one.loss
        writer.writerow([one.name, int(one.members.sum()), len(one.members), *numbers])
    return text.getvalue()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.report.embeddings",
        description="Fit scene encoders on all scenes and on the seed set of a run; measure and draw their embeddings.",
    )
    parser.add_argument("run", type=Path, help="run directory of a planning experiment")
    parser.add_argument("--perplexity", type=float, default=30.0, help="of t-SNE (default: 30)")
    parser.add_argument("--out", type=Path, help="folder to write to (default: RUN/embeddings)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    out = options.out or options.run / "embeddings"
    try:
        fitted = analyse(options.run, out, options.perplexity)
    except (OSError, ValueError, ConfigError, DataFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for one in fitted:
        correlations = f"correlation {one.correlation:.3f} over all pairs, {one.mean_correlation:.3f} a scene"
        print(f"fitted on {one.name} ({int(one.members.sum())}): {correlations}")
    print(out / "embeddings.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
