"""Run directories with made-up results, as a report reads them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import yaml

POOL, SEED_SIZE, BUDGET = 40, 4, 4


def write_run(
    path: Path,
    seed: int,
    criteria: tuple[str, ...] = ("random",),
    *,
    metrics: dict[str, list[float]],
    data: str = "al_lightning.data.Occ3DNuScenes",
    split: str = "OfficialSplit",
    seed_size: int = SEED_SIZE,
    cycles: int = 3,
    picks: dict[int, list[int]] | None = None,
    weight: float = 1.0,
    **more: object,
) -> Path:
    """A run that has validated as many cycles as there are numbers.

    Args:
        path: its directory.
        seed: of the run; decides the seed set.
        criteria: those that count; another one, ``off``, has weight 0.
        metrics: name -> one number a cycle.
        data: class of the data set.
        split: class of its split.
        seed_size: units labeled first.
        cycles: planned.
        picks: cycle -> numbers of the units labeled from it on; at random where not given.
        weight: of the criteria.
        more: further top-level keys of the configuration.
    """
    config = {
        "experiment": "fake", "seed": seed, "run_dir": str(path),
        "data": {"_target_": data, "root": "r", "splits": {"_target_": f"al_lightning.data.{split}"}},
        "task": {"_target_": "t", "seed": seed},
        "acquisition": {"criteria": {name: {} for name in (*criteria, "off")},
                        "weights": {**dict.fromkeys(criteria, weight), "off": 0.0}},
        "loop": {"cycles": cycles, "seed_size": seed_size, "budget": BUDGET},
        "tracking": {"mode": "disabled", "group": str(path)}, **more,
    }  # fmt: skip
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    done = len(next(iter(metrics.values())))
    rows = [
        {"cycle": k, "labeled": seed_size + k * BUDGET, "share": (seed_size + k * BUDGET) / POOL}
        | {name: values[k] for name, values in metrics.items()}
        for k in range(done)
    ]
    with (path / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_pool(path, seed, seed_size, min(done, cycles - 1), picks or {})
    (path / "cycles/0").mkdir(parents=True)
    (path / "cycles/0/checkpoint.ckpt").write_text("training state")
    return path


def write_pool(path: Path, seed: int, seed_size: int, last: int, picks: dict[int, list[int]]) -> None:
    generator = np.random.default_rng(seed)
    acquired_at = np.full(POOL, -1)
    acquired_at[generator.permutation(POOL)[:seed_size]] = 0
    for cycle in range(1, last + 1):
        units = picks.get(cycle, generator.choice(np.flatnonzero(acquired_at < 0), BUDGET, replace=False))
        acquired_at[units] = cycle
    lines = [f"u{unit},{since}" for unit, since in enumerate(acquired_at)]
    (path / "pool.csv").write_text("\n".join(["unit,acquired_at", *lines]) + "\n")
