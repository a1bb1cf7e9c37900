"""Selection from files: the loop's picks, brute force, and what is refused."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fake_driving import driving_annotations
from rich.progress import Progress

from al_lightning.acquisition import ErrorWindows
from al_lightning.acquisition.functional import footprint_distance, segment_distance
from al_lightning.acquisition.summary_files import MissingFieldError
from al_lightning.acquisition.trajectories import scene_summaries
from al_lightning.data import LabelPool
from al_lightning.driving import BOUNDARY, DrivingAnnotations, footprints
from al_lightning.engine import ActiveLearningCallback
from al_lightning.select import configured, open_summaries, select
from al_lightning.select.__main__ import main
from al_lightning.select.watching import watched
from al_lightning.types import Batch, Summary

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "acquisition"
UNITS, BUDGET, SEED = 60, 9, 5


def generator():
    return torch.Generator().manual_seed(SEED)


def occupancy_summary():
    """Summaries of a run's units, as the loop keeps them."""
    g = torch.Generator().manual_seed(1)
    histogram = torch.rand(UNITS, 5, generator=g).square()
    fields = {
        "class_histogram": histogram / histogram.sum(1, keepdim=True),
        "entropy": torch.rand(UNITS, generator=g),
        "frequency_weighted_entropy": torch.rand(UNITS, generator=g),
        "embedding": torch.randn(UNITS, 7, generator=g),
    }
    return Summary(torch.arange(UNITS), fields)


@pytest.fixture
def pool():
    pool = LabelPool([f"token-{unit:03d}" for unit in np.random.default_rng(0).permutation(UNITS)])
    pool.acquire(np.random.default_rng(2).permutation(UNITS)[:12])
    return pool


def write(path, summary, pool, rows):
    arrays = {name: values[rows].numpy() for name, values in summary.fields.items()}
    np.savez(path, token=np.array(pool.units)[rows], **arrays)
    return str(path)


def loop_selection(summary, pool, acquisition, summarizer, dataset=None):
    callback = ActiveLearningCallback(summarizer, acquisition, dataset or SimpleNamespace())
    return callback.select(summary, pool, BUDGET, generator())


def check_same(picks, selection, pool):
    """The rows of a file of picks, and a selection of the loop."""
    units = selection.units.tolist()
    assert picks["token"] == [pool.units[unit] for unit in units]
    assert picks["rank"] == list(range(1, BUDGET + 1))
    position = {unit: row for row, unit in enumerate(pool.unlabeled.tolist())}
    for name, values in selection.scores.items():
        assert picks[name] == [float(values[position[unit]]) for unit in units], name


@pytest.mark.parametrize("name", ["cas", "entropy", "coreset", "random"])
@pytest.mark.parametrize("one_file", [False, True])
def test_the_loop_picks_the_same(pool, tmp_path, name, one_file):
    summary, keep_all = occupancy_summary(), SimpleNamespace(with_labels=lambda labeled, annotations: labeled)
    words = ["--config", str(CONFIGS / f"{name}.yaml"), "--budget", str(BUDGET), "--seed", str(SEED)]
    if one_file:
        seed, picks = ([pool.units[unit] for unit in units] for units in (pool.labeled[:5], pool.labeled[5:]))
        (tmp_path / "seed.txt").write_text("\n".join(seed))
        (tmp_path / "picks.csv").write_text("rank,token\n" + "".join(f"1,{token}\n" for token in picks))
        words += ["--summaries", write(tmp_path / "all.npz", summary, pool, range(UNITS))]
        words += ["--labeled", str(tmp_path / "seed.txt"), "--labeled", str(tmp_path / "picks.csv")]
    else:
        words += ["--summaries", write(tmp_path / "pool.npz", summary, pool, pool.unlabeled)]
        if name in ("cas", "coreset"):
            words += ["--labeled", write(tmp_path / "labeled.npz", summary, pool, pool.labeled)]
    assert main([*words, "--out", str(tmp_path / "picks.parquet")]) == 0
    expected = loop_selection(summary, pool, configured(CONFIGS / f"{name}.yaml")[0], keep_all)
    check_same(pq.read_table(tmp_path / "picks.parquet").to_pydict(), expected, pool)


@pytest.mark.parametrize("name", ["cas", "coreset"])
def test_the_bar_moves_with_the_picks(pool, tmp_path, name):
    summary, acquisition = occupancy_summary(), configured(CONFIGS / f"{name}.yaml")[0]
    rows = [("pool", pool.unlabeled), ("labeled", pool.labeled)]
    files = [open_summaries(Path(write(tmp_path / f"{part}.npz", summary, pool, units))) for part, units in rows]
    progress = Progress(disable=True)
    expected = select(*files, configured(CONFIGS / f"{name}.yaml")[0], BUDGET)
    watched(acquisition, progress, BUDGET)
    assert torch.equal(select(*files, acquisition, BUDGET).units, expected.units)
    assert progress.tasks[0].completed == BUDGET - 1
    assert progress.tasks[0].description == "picking"


# --- trajectories

SCENES, FRAMES, STEPS, PASSES = 30, 8, 6, 3
VALUE = ["acquisition.representation.epochs=5", "acquisition.criteria.rarity.neighbors=4", "summarizer.scale=2"]


def truth(row):
    values = vars(driving_annotations(1, seed=row))
    return DrivingAnnotations(**{name: None if value is None else value[0] for name, value in values.items()})


def clearance(plan, annotations):
    """Distance (T,) from planned positions to the nearest agent or road boundary."""
    agents, present = footprints(annotations)
    nearest = footprint_distance(plan.double(), agents.double()).masked_fill(~present, 1e6).amin(0)
    for line, label in zip(annotations.lines[:, 0].double(), annotations.line_labels, strict=True):
        if label == BOUNDARY:
            pieces = torch.stack((line[:-1], line[1:]), dim=1)
            nearest = torch.minimum(nearest, segment_distance(plan[None].double(), pieces[:, None]).amin(0))
    return nearest


@pytest.fixture
def drives(tmp_path):
    """A run's scenes, and the same as files of trajectories: planned, driven, and how close labeled plans came."""
    g = torch.Generator().manual_seed(3)
    rows = SCENES * FRAMES
    steps = torch.randn(rows, STEPS, 2, generator=g)
    planned = torch.randn(rows, 1 + PASSES, STEPS, 2, generator=g).cumsum(2)
    known = torch.rand(rows, STEPS, generator=g) < 0.95
    known[::FRAMES] = True
    pool = LabelPool([f"scene-{unit:04d}" for unit in range(SCENES)])
    pool.acquire([3, 4, 8, 15, 16, 23, 24, 27])
    unit_of = torch.arange(SCENES).repeat_interleave(FRAMES)
    for name, units in (("pool", pool.unlabeled), ("labeled", pool.labeled)):
        kept = torch.isin(unit_of, torch.from_numpy(units)).nonzero().flatten()
        arrays = {
            "token": np.array([f"frame-{row}" for row in kept.tolist()]),
            "scene": np.array(pool.units)[unit_of[kept]],
            "planned": planned[kept].numpy(),
            "driven": steps.cumsum(1)[kept].numpy(),
            "driven_mask": known[kept].numpy(),
        }
        if name == "labeled":
            near = [clearance(planned[row, 0], truth(row)) for row in kept.tolist()]
            arrays["clearance"] = torch.stack(near).numpy()
        np.savez(tmp_path / f"{name}.npz", **arrays)
    inputs = SimpleNamespace(ego_future=steps, ego_future_mask=known, unit_mask=None)
    dataset = SimpleNamespace(unit_of=unit_of.numpy(), annotations=truth)
    return SimpleNamespace(
        batch=Batch(torch.arange(rows), inputs), planned=planned, unit_of=unit_of, pool=pool, dataset=dataset
    )


@pytest.mark.parametrize("every_keyframe", [True, False])
def test_the_loop_picks_the_same_scenes_from_trajectories(drives, tmp_path, every_keyframe):
    """Keyframes whose future is not known may be left out."""
    for name in () if every_keyframe else ("pool", "labeled"):
        arrays = dict(np.load(tmp_path / f"{name}.npz"))
        kept = arrays["driven_mask"][:, :5].all(axis=1)
        np.savez(tmp_path / f"{name}.npz", **{key: values[kept] for key, values in arrays.items()})
    acquisition, windows = configured(CONFIGS / "value.yaml", VALUE)
    scenes = windows.group(Summary(drives.unit_of, windows(drives.batch, drives.planned)))
    expected = loop_selection(scenes, drives.pool, acquisition, windows, drives.dataset)
    words = ["--summaries", str(tmp_path / "pool.npz"), "--labeled", str(tmp_path / "labeled.npz")]
    words += ["--config", str(CONFIGS / "value.yaml"), "--budget", str(BUDGET), "--seed", str(SEED), *VALUE]
    assert main([*words, "--out", str(tmp_path / "picks.parquet")]) == 0
    check_same(pq.read_table(tmp_path / "picks.parquet").to_pydict(), expected, drives.pool)


def test_scenes_may_come_as_error_patterns(drives, tmp_path):
    acquisition, windows = configured(CONFIGS / "value.yaml", VALUE)
    scenes = windows.group(Summary(drives.unit_of, windows(drives.batch, drives.planned)))
    expected = loop_selection(scenes, drives.pool, acquisition, windows, drives.dataset)
    labeled = windows.with_labels(scenes.take(torch.from_numpy(drives.pool.labeled)), truth)
    tokens = np.array(drives.pool.units)
    for name, units, fields in (
        ("pool", drives.pool.unlabeled, ("error_window", "error_window_samples")),
        ("labeled", drives.pool.labeled, ("error_window", "safety")),
    ):
        source = scenes.take(torch.from_numpy(units)) if name == "pool" else labeled
        np.savez(tmp_path / f"{name}.npz", token=tokens[units], **{field: source[field].numpy() for field in fields})
    words = ["--summaries", str(tmp_path / "pool.npz"), "--labeled", str(tmp_path / "labeled.npz")]
    words += ["--config", str(CONFIGS / "value.yaml"), "--budget", str(BUDGET), "--seed", str(SEED), *VALUE]
    assert main([*words, "--out", str(tmp_path / "picks.parquet")]) == 0
    check_same(pq.read_table(tmp_path / "picks.parquet").to_pydict(), expected, drives.pool)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scene": None}, "has 'planned' but no 'scene'"),
        ({"driven": None}, "labeled.npz has no 'driven'"),
        ({"clearance": None}, "labeled.npz has no 'clearance'"),
        ({"clearance": np.full((8 * FRAMES, STEPS), -1.0)}, "holds negative distances"),
        ({"clearance": np.zeros((8 * FRAMES, 2))}, r"must be \(R, T\), got \(64, 2\)"),
        ({"planned": np.zeros((8 * FRAMES, 1, STEPS, 2))}, "with K >= 1"),
        ({"driven_mask": np.zeros((8 * FRAMES, STEPS), bool)}, "8 scenes of .* have no keyframe whose next 5 steps"),
        ({"scene": np.array(["a", "b"] * (4 * FRAMES))}, "do not follow each other"),
    ],
)
def test_trajectories_that_do_not_fit_are_refused(drives, tmp_path, capsys, change, message):
    arrays = dict(np.load(tmp_path / "labeled.npz")) | change
    np.savez(tmp_path / "labeled.npz", **{name: array for name, array in arrays.items() if array is not None})
    words = ["--summaries", str(tmp_path / "pool.npz"), "--labeled", str(tmp_path / "labeled.npz"), "--budget", "2"]
    assert main([*words, "--config", str(CONFIGS / "value.yaml"), "--out", str(tmp_path / "picks.csv"), *VALUE]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_offsets_instead_of_positions_are_warned_of(drives, tmp_path, caplog):
    """Of a vehicle at constant speed, and of a planner that reaches two thirds of the distance."""
    arrays = dict(np.load(tmp_path / "pool.npz"))
    way = np.zeros_like(arrays["driven"])
    way[..., 1] = np.arange(1, STEPS + 1) * 2.5
    for short, warned in ((2 / 3, False), (None, True)):
        plan = np.diff(way, axis=1, prepend=0) if short is None else way * short
        planned = np.repeat(plan[:, None], arrays["planned"].shape[1], axis=1)
        np.savez(tmp_path / "way.npz", **arrays | {"driven": way, "planned": planned})
        scene_summaries(open_summaries(tmp_path / "way.npz"), ErrorWindows(), labeled=False)
        assert ("are they the offsets of single steps?" in caplog.text) == warned
    assert f"after {STEPS} steps lie at {100 / STEPS:.0f} % of the driven distance" in caplog.text


def test_parts_of_a_file_hold_each_number_once(tmp_path):
    np.savez(tmp_path / "all.npz", token=np.array(list("abcd")), entropy=np.arange(4.0))
    whole = open_summaries(tmp_path / "all.npz")
    one, other = whole.parts(torch.tensor([3, 0]), torch.tensor([1, 2]))
    assert (list(one.tokens), list(other.tokens)) == (["d", "a"], ["b", "c"])
    assert one["entropy"].tolist() == [3, 0]
    assert (whole.row_shapes, other.row_shapes) == ({}, {"entropy": ()})  # read for both at once
    assert other["entropy"].tolist() == [1, 2]
    with pytest.raises(MissingFieldError, match="has no 'embedding'"):
        one["embedding"]


# --- small cases by hand


def entropy(p):
    return -sum(x * math.log2(x) for x in p if x)


def divergence(p, q):
    return entropy([(a + b) / 2 for a, b in zip(p, q, strict=True)]) - (entropy(p) + entropy(q)) / 2


def scaled(values):
    return {key: (value - min(values.values())) / (max(values.values()) - min(values.values()))
            for key, value in values.items()}  # fmt: skip


def by_hand(pool, uncertainty, labeled, budget):
    """Eq. 2, 3, 7 and 8 of the occupancy paper, a sample at a time."""
    inter = scaled({token: min(divergence(q, p) for p in labeled) for token, q in pool.items()})
    known, picks, left = scaled(uncertainty), [], dict(pool)
    while len(picks) < budget:
        intra = {token: min((divergence(q, pool[pick]) for pick in picks), default=0.0) for token, q in left.items()}
        intra = scaled(intra) if picks else intra
        picks.append(max(left, key=lambda token: math.hypot(inter[token], intra[token], known[token])))
        del left[picks[-1]]
    return picks


def test_the_combined_score_is_that_of_the_paper(tmp_path):
    g = np.random.default_rng(4)
    histogram, uncertainty, labeled = g.dirichlet(np.ones(4), 25), g.random(25), g.dirichlet(np.ones(4), 6)
    tokens = [f"t{k}" for k in range(25)]
    np.savez_compressed(
        tmp_path / "pool.npz", token=tokens, class_histogram=histogram, frequency_weighted_entropy=uncertainty
    )
    np.savez(tmp_path / "labeled.npz", token=[f"l{k}" for k in range(6)], class_histogram=labeled)
    words = ["--summaries", str(tmp_path / "pool.npz"), "--labeled", str(tmp_path / "labeled.npz"), "--budget", "12"]
    assert main([*words, "--config", str(CONFIGS / "cas.yaml"), "--out", str(tmp_path / "picks.txt")]) == 0
    values = dict(zip(tokens, uncertainty.tolist(), strict=True))
    expected = by_hand(dict(zip(tokens, histogram.tolist(), strict=True)), values, labeled.tolist(), 12)
    assert (tmp_path / "picks.txt").read_text().split() == expected
