import pytest
import torch

from al_lightning.acquisition.occupied_kernel import occupied_voxels

NAN, INF = float("nan"), float("inf")


def logits(seed, shape, dtype):
    """Few different values, so that classes are often equal, and some that are not numbers."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor([-INF, -1.0, -0.0, 0.0, 0.5, 2.0, INF, NAN])
    weights = torch.tensor([1.0, 5, 5, 5, 5, 5, 1, 1])
    drawn = torch.multinomial(weights, shape.numel(), replacement=True, generator=generator)
    return values[drawn].view(shape).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("classes", [1, 2, 5, 18])
def test_equals_the_first_of_the_largest(dtype, classes):
    given = logits(classes, torch.Size([2, classes, 7, 9, 5]), dtype)
    class_last = given.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)
    turned = given.permute(0, 3, 1, 2, 4).contiguous().permute(0, 2, 3, 1, 4)
    for free_class in {0, classes // 2, classes - 1}:
        expected = given.max(1).indices != free_class
        assert classes == 1 or expected.any()
        for layout in (given, class_last, turned, given.requires_grad_()):
            assert torch.equal(occupied_voxels(layout, free_class), expected)


@pytest.mark.parametrize("class_last", [True, False])
def test_more_voxels_than_a_thread_takes_at_a_time(class_last):
    given = logits(0, torch.Size([1, 3, 50, 45, 31]), torch.float32)
    if class_last:
        given = given.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)
    assert torch.equal(occupied_voxels(given, 2), given.max(1).indices != 2)
