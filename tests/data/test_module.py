"""Which rows a process reads, and which rows come with a row."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from fake_occupancy import SHAPE, FakeFrames, write_frames
from fake_planning import FRAMES, FakeDrives, write_drives

from al_lightning.data import ActiveLearningDataModule, LabelPool
from al_lightning.data.module import LabeledRows, SensorRows, WholeUnits
from al_lightning.types import Batch, CameraInputs, OccupancyAnnotations, Sample, collate


@pytest.fixture
def drives(tmp_path: Path) -> FakeDrives:
    write_drives(tmp_path, train=3, val=0)
    return FakeDrives(str(tmp_path), "train", image_size=(2, 2))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_row_is_read_once_and_units_stay_whole(drives: FakeDrives, processes: int) -> None:
    unit_of = np.array([0, 0, 0, 2, 2, 5, 5, 5, 7])
    shares = [list(WholeUnits(SensorRows(drives), unit_of, processes, rank)) for rank in range(processes)]
    assert sorted(row for share in shares for row in share) == list(range(9))
    assert all(share == sorted(share) for share in shares)
    units = [set(unit_of[share].tolist()) for share in shares]
    assert sum(map(len, units)) == 4
    assert [len(WholeUnits(SensorRows(drives), unit_of, processes, rank)) for rank in range(processes)] == [
        len(share) for share in shares
    ]


def test_more_processes_than_units_are_refused(drives: FakeDrives) -> None:
    with pytest.raises(ValueError, match="3 processes cannot share 2 units"):
        WholeUnits(SensorRows(drives), np.array([0, 0, 1]), 3, 0)


@pytest.mark.parametrize(
    ("row", "past"), [(FRAMES + 4, [2, 3]), (FRAMES + 1, [0, 0]), (FRAMES, [0, 0]), (FRAMES + 2, [0, 1])]
)
def test_the_past_of_a_row_goes_back_to_the_begin_of_its_unit(drives: FakeDrives, row: int, past: list[int]) -> None:
    sample = LabeledRows(drives, np.array([0, row]), past_frames=2)[1]
    assert sample.row == row
    expected = [drives.sample(FRAMES + frame, annotations=False).inputs for frame in past]
    assert torch.equal(sample.past.ego_history, torch.stack([inputs.ego_history for inputs in expected]))
    assert torch.equal(sample.past.images, torch.stack([inputs.images for inputs in expected]))
    assert LabeledRows(drives, np.array([row]))[0].past is None


class ThreadCounts(FakeFrames):
    """Instead of an image, the threads with which OpenCV and torch read it."""

    def sample(self, row, **arguments):
        return Sample(row, torch.tensor([cv2.getNumThreads(), torch.get_num_threads()]))


@pytest.mark.filterwarnings("ignore:.*fork")
def test_reader_processes_have_one_thread_each_whatever_ran_before(tmp_path: Path) -> None:
    """OpenCV's threads of this process are not in a fork of it, which must not wait for them."""
    write_frames(tmp_path)
    frames = ThreadCounts(str(tmp_path), "train")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        cv2.GaussianBlur(np.zeros((1000, 1000, 3), np.float32), (0, 0), 5)
        module = ActiveLearningDataModule(frames, frames, LabelPool(frames.units), num_workers=1)
        loader = module.predict_dataloader()
        loader.timeout = 60
        assert {tuple(batch.inputs[0].tolist()) for batch in loader} == {(1, 1)}
    finally:
        cv2.setNumThreads(threads)


def test_every_tensor_of_a_batch_is_pinned_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    inputs = CameraInputs(*(torch.full((1, 2), float(number)) for number in range(6)))
    truth = OccupancyAnnotations(torch.zeros(SHAPE, dtype=torch.uint8), torch.ones(SHAPE, dtype=torch.bool))
    batch = collate([Sample(7, inputs, truth, past=inputs)])
    found = torch.utils.data._utils.pin_memory.pin_memory(batch)
    assert isinstance(found, Batch)
    assert len(pinned) == 1 + 6 + 2 + 6
    assert found.inputs.images is not batch.inputs.images
    assert torch.equal(found.inputs.bda, batch.inputs.bda)
    assert torch.equal(found.past.images, batch.past.images)
    assert torch.equal(found.annotations.mask, batch.annotations.mask)
    assert (found.label_mask, found.annotations.depth, found.inputs.projection_shift) == (None, None, None)


def test_batches_are_pinned_for_a_gpu_alone(drives: FakeDrives) -> None:
    module = ActiveLearningDataModule(drives, drives, LabelPool(drives.units))
    assert not module.predict_dataloader().pin_memory
    for device, pinned in (("cpu", False), ("cuda", True)):
        strategy = SimpleNamespace(root_device=torch.device(device))
        module.trainer = SimpleNamespace(world_size=1, strategy=strategy)
        assert module.predict_dataloader().pin_memory == module.val_dataloader().pin_memory == pinned
