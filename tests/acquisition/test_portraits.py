import math
from pathlib import Path

import pytest
import torch
from fake_planning import FakeDrives, write_drives

from al_lightning.acquisition import ErrorWindows, Portrayer, VoxelSummarizer
from al_lightning.driving import PADDING
from al_lightning.types import IGNORE, Batch, OccupancyAnnotations, OccupancyPrediction, Summary, VoxelGrid, collate

GRID = VoxelGrid((-2, -4, 0), (2, 4, 1), (2, 4, 3))


def test_the_map_of_a_frame_adds_up_to_its_score() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 5, *GRID.shape, generator=generator)
    mask = torch.rand(1, *GRID.shape, generator=generator) < 0.7
    batch: Batch = Batch(torch.tensor([0]), None, label_mask=mask)
    summarizer = VoxelSummarizer(GRID, "label_mask")
    prediction = OccupancyPrediction(logits)
    unit = Summary(torch.tensor([0]), summarizer(batch, prediction))
    shown = summarizer.portrait(unit, batch, lambda: prediction)
    score = float(unit["frequency_weighted_entropy"])
    assert float(shown["uncertainty_map"].sum()) == pytest.approx(score, rel=1e-5)
    assert float(shown["uncertainty_by_class"].sum()) == pytest.approx(score, rel=1e-5)
    assert bool((shown["uncertainty_map"][~mask[0].any(2)] == 0).all())
    assert torch.equal(shown["predicted_classes"][mask[0]].long(), logits.argmax(1)[mask])
    assert bool((shown["predicted_classes"][~mask[0]] == IGNORE).all())
    assert shown["bounds"].tolist() == [[-2, -4], [2, 4]]


def test_truth_is_shown_where_it_counts() -> None:
    semantics = torch.arange(24, dtype=torch.uint8).reshape(GRID.shape)
    mask = semantics % 3 == 0
    annotations = OccupancyAnnotations(semantics, mask)
    shown = VoxelSummarizer(GRID, "all").true_portrait(Summary(torch.tensor([0])), annotations)["true_classes"]
    assert torch.equal(shown, torch.where(mask, semantics, torch.tensor(IGNORE, dtype=torch.uint8)))


@pytest.fixture
def scene(tmp_path: Path) -> tuple[FakeDrives, ErrorWindows, Summary]:
    """Drives, and the summary of the first scene as planned by a planner that stands still."""
    write_drives(tmp_path, train=1, val=0)
    drives, windows = FakeDrives(str(tmp_path), "train"), ErrorWindows()
    batch = collate([drives.sample(row, annotations=False) for row in range(len(drives))])
    fields = windows(batch, torch.zeros(len(drives), 3, 6, 2))
    return drives, windows, windows.group(Summary(torch.zeros(len(drives), dtype=torch.int64), fields))


def test_a_drive_is_shown_at_its_worst_moment(scene: tuple[FakeDrives, ErrorWindows, Summary]) -> None:
    drives, windows, unit = scene
    row = windows.portrayed_row(unit, range(len(drives)))
    assert row == int(unit["reference_row"])

    def predict() -> None:
        raise AssertionError("the summary holds the plan")

    batch = collate([drives.sample(row, annotations=False)])
    shown = windows.portrait(unit, batch, predict)
    way = drives.sample(row).inputs.ego_future.cumsum(0)
    assert torch.equal(shown["way"], way)
    assert torch.equal(shown["plan"], torch.zeros(6, 2))
    error = torch.linalg.norm(shown["way"][:5].double() - shown["plan"][:5], dim=1)
    assert torch.linalg.norm(unit["error_window"][0], dim=1) == pytest.approx(error.numpy(), abs=1e-6)


def test_surroundings_are_those_of_the_labels(scene: tuple[FakeDrives, ErrorWindows, Summary]) -> None:
    drives, windows, unit = scene
    truth = drives.sample(windows.portrayed_row(unit, range(len(drives)))).annotations
    truth.labels[1] = PADDING
    shown = windows.true_portrait(unit, truth)
    assert shown["agents"].shape == (1, 7, 5)
    x, y, *_, yaw = truth.boxes[0, :7].tolist()
    assert shown["agents"][0, 0].tolist() == pytest.approx([x, y, -yaw - math.pi / 2, 4.5, 2.0])
    assert bool(shown["present"].all())
    assert shown["boundaries"].shape[1:] == (2, 2)
    labeled = windows.with_labels(unit, lambda row: truth)
    assert torch.equal(shown["safety"], labeled["safety"][0])


def test_summarizers_can_be_asked() -> None:
    assert isinstance(VoxelSummarizer(GRID, "all"), Portrayer)
    assert isinstance(ErrorWindows(), Portrayer)
