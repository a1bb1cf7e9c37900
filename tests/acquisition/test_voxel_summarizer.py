import pytest
import torch

from al_lightning.acquisition import VoxelSummarizer, frustum_visibility
from al_lightning.acquisition.functional import voxel_statistics
from al_lightning.types import Batch, CameraInputs, OccupancyPrediction, Summary, VoxelGrid

GRID = VoxelGrid((0, -2, -1), (4, 2, 1), (4, 4, 2))
FREE = 2


def batch(label_mask=None, forward: float = 1.0) -> Batch:
    """Two samples with one camera at the origin that looks along x (or backwards, out of the grid)."""
    camera2ego = torch.tensor([[0, 0, forward, -0.5], [-forward, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    intrinsics = torch.tensor([[10.0, 0, 8], [0, 10, 8], [0, 0, 1]])
    eye = torch.eye(3)
    parts = (camera2ego, intrinsics, eye, torch.zeros(3))
    inputs = CameraInputs(
        torch.zeros(2, 1, 3, 16, 16), *(part.expand(2, 1, *part.shape) for part in parts), torch.eye(4).expand(2, 4, 4)
    )
    return Batch(torch.tensor([31, 7]), inputs, None, label_mask)


def prediction(features=True) -> OccupancyPrediction:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *GRID.shape, generator=generator)
    logits[:, FREE] += 1
    return OccupancyPrediction(logits, torch.randn(2, 5, 3, 4, generator=generator) if features else None)


def check(fields, logits, mask):
    expected = voxel_statistics(logits, mask)
    assert torch.equal(fields["class_histogram"], expected.histogram)
    assert torch.equal(fields["entropy"], expected.entropy)
    assert torch.equal(fields["frequency_weighted_entropy"], expected.frequency_weighted_entropy)


def test_frustum_counts_what_the_cameras_see():
    given, predicted = batch(), prediction()
    summarizer = VoxelSummarizer(GRID, "frustum", FREE)
    mask = frustum_visibility(predicted.logits.argmax(1) != FREE, GRID, given.inputs)
    assert not mask.all()
    assert not torch.equal(mask, frustum_visibility(torch.zeros_like(mask), GRID, given.inputs))  # something is hidden
    check(summarizer(given, predicted), predicted.logits, mask)
    assert not summarizer.needs_label_mask


def test_the_free_class_left_out():
    with pytest.raises(ValueError, match="needs free_class"):
        VoxelSummarizer(GRID, "all", leave_out_free=True)
    summarizer = VoxelSummarizer(GRID, "all", FREE, leave_out_free=True)
    fields = summarizer(batch(), prediction())
    expected = voxel_statistics(prediction().logits, without=FREE)
    assert torch.equal(fields["class_histogram"], expected.histogram)
    assert torch.equal(fields["frequency_weighted_entropy"], expected.frequency_weighted_entropy)


def test_label_mask_counts_what_the_labels_say():
    mask = torch.rand(2, *GRID.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    summarizer = VoxelSummarizer(GRID, "label_mask")
    assert summarizer.needs_label_mask
    check(summarizer(batch(mask), prediction()), prediction().logits, mask)
    with pytest.raises(ValueError, match="label_mask=True"):
        summarizer(batch(), prediction())
    mask[1] = False
    with pytest.raises(ValueError, match=r"'label_mask' holds no voxel for dataset rows \[7\]"):
        summarizer(batch(mask), prediction())


def test_all_counts_every_voxel():
    summarizer = VoxelSummarizer(GRID, "all")
    assert not summarizer.needs_label_mask
    check(summarizer(batch(), prediction()), prediction().logits, None)


def test_an_empty_frustum_names_the_rows():
    with pytest.raises(ValueError, match=r"'frustum' holds no voxel for dataset rows \[31, 7\]"):
        VoxelSummarizer(GRID, "frustum", FREE)(batch(forward=-1.0), prediction())


def test_embedding_is_the_mean_feature():
    summarizer, predicted = VoxelSummarizer(GRID, "all"), prediction()
    fields = summarizer(batch(), predicted)
    torch.testing.assert_close(fields["embedding"], predicted.features.mean((2, 3)))
    half = OccupancyPrediction(predicted.logits, predicted.features.bfloat16())
    assert summarizer(batch(), half)["embedding"].dtype == torch.float32
    assert "embedding" not in summarizer(batch(), prediction(features=False))


def test_fields_make_a_summary():
    fields = VoxelSummarizer(GRID, "all")(batch(), prediction())
    assert all(len(values) == 2 for values in Summary(batch().index, fields).fields.values())


def test_group_keeps_one_row_a_unit():
    summarizer = VoxelSummarizer(GRID, "all")
    rows = Summary(torch.tensor([4, 2, 9]), {"entropy": torch.tensor([1.0, 2, 3])})
    assert summarizer.group(rows) is rows
    with pytest.raises(ValueError, match=r"one row a unit; units \[4\] have more"):
        summarizer.group(Summary(torch.tensor([4, 2, 4]), {}))


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="visibility must be one of"):
        VoxelSummarizer(GRID, "camera")
    with pytest.raises(ValueError, match="needs free_class"):
        VoxelSummarizer(GRID)
    with pytest.raises(ValueError, match="free_class must be one of the 3 classes"):
        VoxelSummarizer(GRID, "frustum", 3)(batch(), prediction())
    with pytest.raises(ValueError, match="do not fit the grid"):
        VoxelSummarizer(VoxelGrid((0, 0, 0), (1, 1, 1), (4, 4, 3)), "all")(batch(), prediction())
