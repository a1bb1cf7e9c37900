"""Which rows a process reads, and which rows come with a row."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_planning import FRAMES, FakeDrives, write_drives

from al_lightning.data.module import LabeledRows, SensorRows, WholeUnits


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
