"""Updates without a row, as subsets give them in processes that hold none of theirs, are counted as nothing."""

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from al_lightning import metrics
from al_lightning.detection import encode_tokens
from al_lightning.metrics import NuScenesDetection, Occ3DMeanIoU, OpenLoopPlanning, RayIoU, SemanticSceneCompletion
from al_lightning.types import VoxelGrid

CLASSES = ("car", "tree", "free")
GRID = VoxelGrid((-2, -2, -1), (2, 2, 1), (4, 4, 2))
G = torch.Generator().manual_seed(0)


def voxels() -> tuple[Tensor, ...]:
    prediction, semantics = torch.randint(0, 3, (2, 2, *GRID.shape), generator=G)
    return prediction, semantics, torch.rand(2, *GRID.shape, generator=G) < 0.5


def boxes() -> tuple[Tensor, ...]:
    tokens, rows = encode_tokens(["a", "b"]), torch.rand(2, 3, 9, generator=G)
    return tokens, rows, torch.randint(0, 9, (2, 3), generator=G), torch.rand(2, 3, generator=G)


def drives() -> tuple[Tensor, ...]:
    plan, truth = torch.rand(2, 2, 6, 2, generator=G)
    return plan, truth, torch.ones(2, 6).bool(), torch.rand(2, 4, 6, 5, generator=G), torch.ones(2, 4, 6).bool()


CASES = [
    (Occ3DMeanIoU(CLASSES), voxels()),
    (SemanticSceneCompletion(CLASSES), voxels()),
    (RayIoU(CLASSES, GRID), voxels()),
    (NuScenesDetection("somewhere", "v1.0"), boxes()),
    (OpenLoopPlanning(), drives()),
]


def test_no_metric_is_left_out() -> None:
    assert {type(metric).__name__ for metric, _ in CASES} == set(metrics.__all__)


@pytest.mark.parametrize(("metric", "rows"), CASES, ids=lambda value: type(value).__name__)
def test_no_rows_count_as_nothing(metric: Metric, rows: tuple[Tensor, ...]) -> None:
    metric.update(*rows)
    before = states(metric)
    metric.update(*(values[:0] for values in rows))
    after = states(metric)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def states(metric: Metric) -> dict[str, Tensor]:
    found = {name: getattr(metric, name) for name in metric._defaults}
    return {name: torch.cat(value) if isinstance(value, list) else value.clone() for name, value in found.items()}
