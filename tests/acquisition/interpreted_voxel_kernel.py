"""The GPU's kernel in Triton's interpreter; `test_device_voxel_kernel` runs this file in a process of its own.

The interpreter has to be chosen (TRITON_INTERPRET=1) before Triton is imported, and then is the choice for all kernels.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.acquisition.functional import device_voxel_kernel as kernel
from al_lightning.acquisition.functional import voxel_statistics, voxels

VOXELS = 3 * kernel.BLOCK + 77
NUMBER = torch.arange(VOXELS)
MASKS = torch.stack(
    [
        NUMBER >= 0,
        NUMBER // 50 % 3 == 0,
        torch.rand(VOXELS, generator=torch.Generator().manual_seed(0)) < 0.3,
        NUMBER < 0,  # none
        NUMBER == VOXELS - 1,  # one
        NUMBER >= 2 * kernel.BLOCK,  # none of a program's first block
    ]
)


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch):
    """Several programs a sample, of several blocks each, for few voxels."""
    monkeypatch.setattr(kernel, "BLOCKS", 2)


def make(classes, dtype=torch.float32, samples=6, voxels=VOXELS, scale=4.0):
    generator = torch.Generator().manual_seed(classes)
    return (scale * torch.randn(samples, classes, voxels, generator=generator)).to(dtype)


def class_last(logits):
    return logits.mT.contiguous().mT


def check(logits, mask=None):
    """Hold the kernel equal to the reference in float64; return its sums."""
    sums = kernel.class_sums(logits, mask)
    assert sums.dtype == torch.float64
    assert sums.shape == (len(logits), 2, logits.shape[1])
    for sample, (counts, surprisal) in enumerate(sums):
        expected = voxels.chunked_class_sums(logits[sample].double(), None if mask is None else mask[sample])
        assert torch.equal(counts.long(), expected[0])
        torch.testing.assert_close(surprisal, expected[1], rtol=1e-6, atol=1e-6)
    return sums


@pytest.mark.parametrize("layout", [lambda x: x, class_last])
@pytest.mark.parametrize(
    ("classes", "dtype"),
    [(K, torch.float32) for K in (1, 2, 17, 18, 20)]
    + [(K, dtype) for K in (17, 18) for dtype in (torch.bfloat16, torch.float16)],
)
def test_equals_the_reference(layout, classes, dtype):
    logits = layout(make(classes, dtype))
    check(logits, MASKS)
    check(logits[:1])


def test_equals_the_reference_of_other_strides():
    check(make(9)[:, 2:6], MASKS)
    check(make(3).flip(2).expand(-1, 3, -1)[:, :, ::2], MASKS[:, ::2])
    check(make(3), MASKS[:1].expand(len(MASKS), -1))


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.sampled_from(kernel.DTYPES))
def test_any_size(count, classes, samples, masked, dtype):
    logits = make(classes, dtype, samples, count)
    mask = logits[:, 0] > 0 if masked else None
    for view in (logits, class_last(logits)):
        check(view, mask)


def test_the_lowest_of_equal_classes_counts():
    logits = torch.randint(-1, 2, (2, 18, VOXELS), generator=torch.Generator().manual_seed(0)).float()
    check(logits)
    check(class_last(logits))
    check(torch.tensor([-0.0, 0.0]).view(1, 2, 1))
    assert kernel.class_sums(torch.zeros(1, 3, 7))[0, 0].tolist() == [7, 0, 0]


def test_does_not_lose_what_large_logits_have_in_common():
    check(1e4 + make(18, samples=1, scale=1.0))
    check(torch.tensor([3e38, 0.0, 2e38]).view(1, 3, 1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), -3.4e38])
@pytest.mark.parametrize("layout", [lambda x: x, class_last])
def test_what_is_not_finite_shows_in_its_sample_if_it_counts(layout, bad):
    logits = make(4, samples=3)
    logits[:, 1, 5] = 1e38  # further from -3.4e38 than float32 reaches
    sums = kernel.class_sums(layout(logits))
    logits[1, 2, 5] = bad
    spoilt = kernel.class_sums(layout(logits))
    assert not spoilt[1, 1].isfinite().all()
    assert torch.equal(spoilt[::2], sums[::2])
    assert torch.equal(spoilt[1, 1].isnan(), voxels.chunked_class_sums(logits[1])[1].isnan())
    mask = torch.ones(3, VOXELS, dtype=torch.bool)
    mask[:, 5] = False
    logits[:, :, 5] = bad
    check(layout(logits), mask)


def test_bits_do_not_depend_on_the_rest_of_the_batch():
    logits = make(18)
    together = kernel.class_sums(logits, MASKS)
    for sample in range(len(logits)):
        part = slice(sample, sample + 1)
        assert torch.equal(kernel.class_sums(logits[part], MASKS[part]), together[part])


def test_voxel_statistics_by_the_kernel(monkeypatch):
    logits = make(5).unflatten(2, (VOXELS, 1))
    mask = MASKS.unsqueeze(2) | (NUMBER < 3).unsqueeze(1)
    cases = [(None, None), (mask, None), (mask, 2)]
    expected = [voxel_statistics(logits.double(), kept, without=without) for kept, without in cases]
    monkeypatch.setattr(voxels, "_device_kernel", lambda device: kernel)
    for (kept, without), wanted in zip(cases, expected, strict=True):
        for values, reference in zip(voxel_statistics(logits, kept, without=without), wanted, strict=True):
            torch.testing.assert_close(values, reference.float(), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"no voxel for the samples at positions \[3\]"):
        voxel_statistics(logits, MASKS.unsqueeze(2))
    logits[2, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="position 2 are not finite"):
        voxel_statistics(logits, mask)
    monkeypatch.setattr(kernel, "class_sums", None)  # takes neither other dtypes nor so many classes
    voxel_statistics(logits[:1].double())
    voxel_statistics(torch.zeros(1, kernel.MOST_CLASSES + 1, 2))
