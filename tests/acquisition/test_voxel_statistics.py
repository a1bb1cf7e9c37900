import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.acquisition.functional import voxel_kernel, voxel_statistics
from al_lightning.acquisition.functional.voxels import chunked_class_sums

EPS = 1e-6
GRID = (5, 4, 3)


def definition(logits: np.ndarray, mask: np.ndarray, eps: float = EPS) -> tuple[np.ndarray, float, float]:
    """Eq. 1 and 4-7 of the occupancy paper for one sample (K, *grid), voxel by voxel in float64."""
    voxels = np.moveaxis(logits.astype(np.float64), 0, -1)[mask]
    histogram = np.zeros(logits.shape[0])
    for voxel in voxels:
        histogram[np.argmax(voxel)] += 1 / len(voxels)
    weights = 1 / (histogram + eps)
    weights /= weights.sum()
    entropy, weighted = 0.0, 0.0
    for voxel in voxels:
        p = np.exp(voxel - voxel.max())
        p /= p.sum()
        terms = np.array([-x * np.log(x) if x > 0 else 0.0 for x in p])
        entropy += terms.sum() / len(voxels)
        weighted += (weights * terms).sum() / len(voxels)
    return histogram, entropy, weighted


def make(dtype=torch.float64, scale=3.0, batch=3, classes=6):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(batch, classes, *GRID, generator=generator, dtype=torch.float64)
    return logits.to(dtype), torch.rand(batch, *GRID, generator=generator) < 0.4


def class_last(logits):
    """The same numbers in memory laid out as (B, *grid, K)."""
    return logits.movedim(1, -1).contiguous().movedim(-1, 1)


@pytest.mark.parametrize("chunk", [7, 2**16])
@pytest.mark.parametrize("layout", [lambda x: x, class_last, lambda x: x.transpose(2, 3).contiguous().transpose(2, 3)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6), (torch.bfloat16, 2e-6), (torch.half, 2e-6)]
)
def test_equals_the_definition(monkeypatch, chunk, layout, masked, dtype, tolerance):
    monkeypatch.setattr("al_lightning.acquisition.functional.voxels.CHUNK", chunk)
    logits, mask = make(dtype)
    statistics = voxel_statistics(layout(logits), mask if masked else None)
    for sample in range(len(logits)):
        given_mask = mask[sample].numpy() if masked else np.ones(GRID, dtype=bool)
        expected = definition(logits[sample].double().numpy(), given_mask)
        for values, value in zip(statistics, expected, strict=True):
            assert values.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
            np.testing.assert_allclose(values[sample].numpy(), value, rtol=tolerance, atol=tolerance * 0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", ["all", "runs", "scattered", "one", "none of a chunk", "gaps before the end"])
@pytest.mark.parametrize("classes", [1, 2, 18, 35])
def test_the_kernel_equals_the_reference(dtype, mask, classes):
    voxels = 2 * voxel_kernel.CHUNK + 777
    generator = torch.Generator().manual_seed(classes)
    logits = (4 * torch.randn(classes, voxels, generator=generator)).to(dtype)
    number = torch.arange(voxels)
    kept = {
        "all": None,
        "runs": number // 700 % 3 == 0,
        "scattered": torch.rand(voxels, generator=generator) < 0.3,
        "one": number == 5,
        "none of a chunk": number > voxel_kernel.CHUNK + 40,
        "gaps before the end": (number >= voxels - voxel_kernel.BLOCK) & ((number % 3 < 2) | (number > voxels - 9)),
    }[mask]
    counts, surprisal = chunked_class_sums(logits.double(), kept)
    for view in (logits, logits.t().contiguous().t()):
        found, sums = voxel_kernel.class_sums(view, kept)
        assert torch.equal(found, counts)
        torch.testing.assert_close(sums, surprisal, rtol=1e-6, atol=1e-6)


def test_the_kernel_does_not_lose_what_large_logits_have_in_common():
    logits = 1e4 + torch.randn(18, 1000, generator=torch.Generator().manual_seed(0))
    expected = chunked_class_sums(logits.double())
    for found, sums in zip(voxel_kernel.class_sums(logits), expected, strict=True):
        torch.testing.assert_close(found, sums, rtol=1e-6, atol=1e-6)


def test_the_kernel_gives_the_same_bits_on_any_number_of_threads():
    logits = torch.randn(5, 3 * voxel_kernel.CHUNK, generator=torch.Generator().manual_seed(0))
    threads, sums = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            sums.append(voxel_kernel.class_sums(logits)[1])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(sums[0], sums[1])
    assert torch.equal(sums[0], sums[2])


def test_exponential_and_logarithm_of_the_kernel():
    exponents = np.linspace(-87, 0, 100_001, dtype=np.float32)
    found = np.array([voxel_kernel._exp(x) for x in exponents], dtype=np.float64)
    np.testing.assert_allclose(found, np.exp(exponents.astype(np.float64)), rtol=2e-7)
    assert voxel_kernel._exp(np.float32(0)) == 1
    assert voxel_kernel._exp(np.float32(-88)) == voxel_kernel._exp(np.float32(-3e38)) == 0
    totals = np.concatenate([np.linspace(1, 40, 50_001), np.geomspace(1, 1e6, 50_001)]).astype(np.float32)
    found = np.array([voxel_kernel._log(x) for x in totals], dtype=np.float64)
    np.testing.assert_allclose(found, np.log(totals.astype(np.float64)), rtol=2e-7)
    assert voxel_kernel._log(np.float32(1)) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_the_mask_leaves_out_may_be_anything(dtype):
    logits, mask = make(dtype)
    broken = torch.where(mask[:, None], logits, torch.tensor(float("nan"), dtype=dtype))
    for values, others in zip(voxel_statistics(logits, mask), voxel_statistics(broken, mask), strict=True):
        assert torch.equal(values, others)


def test_more_voxels_than_a_chunk():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 2, 70_001, generator=generator)
    statistics = voxel_statistics(logits)
    first = (logits[0, 0] >= logits[0, 1]).double().mean()
    p = logits[0].double().softmax(0)
    assert statistics.histogram[0].tolist() == pytest.approx([float(first), 1 - float(first)], rel=1e-6)
    assert float(statistics.entropy) == pytest.approx(float(-(p * p.log()).sum(0).mean()), rel=1e-6)


def test_closed_forms():
    # Equal logits: entropy log K, ties go to class 0; its weight is 1/(1 + eps), the weight of the others 1/eps.
    statistics = voxel_statistics(torch.zeros(1, 4, 2, 2, dtype=torch.float64))
    assert statistics.histogram.tolist() == [[1, 0, 0, 0]]
    assert float(statistics.entropy) == pytest.approx(np.log(4), rel=1e-15)
    assert float(statistics.frequency_weighted_entropy) == pytest.approx(np.log(4) / 4, rel=1e-12)
    # A certain network has no entropy, and what is impossible adds nothing.
    certain = torch.zeros(1, 3, 2, 2)
    certain[:, 1] = 1e4
    assert [values.tolist() for values in voxel_statistics(certain)] == [[[0, 1, 0]], [0], [0]]


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), without=st.integers(0, 3), masked=st.booleans())
def test_a_class_left_out(seed, without, masked):
    """Eq. 1 and 5-7 with a K that has it not: shares of the voxels of those classes, the mean over all voxels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, 4, *GRID, generator=generator, dtype=torch.float64)
    mask = torch.rand(1, *GRID, generator=generator) < 0.7
    statistics = voxel_statistics(logits, mask if masked else None, without=without)
    voxels = logits[0].flatten(1).T[mask.flatten() if masked else slice(None)]
    kept = [c for c in range(4) if c != without]
    p, found = voxels.softmax(1), voxels.argmax(1)
    q = [int((found == c).sum()) / int((found != without).sum()) for c in kept]
    w = [1 / (share + EPS) for share in q]
    surprisal = [-float((p[:, c] * p[:, c].log()).mean()) for c in kept]
    expected = sum(weight * s for weight, s in zip(w, surprisal, strict=True)) / sum(w)
    assert statistics.histogram[0, kept].tolist() == pytest.approx(q, rel=1e-12)
    assert statistics.histogram[0, without] == 0
    assert float(statistics.frequency_weighted_entropy) == pytest.approx(expected, rel=1e-9)
    assert torch.equal(statistics.entropy, voxel_statistics(logits, mask if masked else None).entropy)


def test_a_class_left_out_must_not_be_all():
    logits = torch.zeros(2, 3, *GRID)
    logits[1, 2] = 1
    with pytest.raises(ValueError, match=r"positions \[0\] are predicted as class 0"):
        voxel_statistics(logits, without=0)
    with pytest.raises(ValueError, match="one of 3, got 3"):
        voxel_statistics(logits, without=3)


def test_eps_counts():
    logits, mask = make(batch=1)
    for eps in (1e-6, 0.1, 10.0):
        expected = definition(logits[0].numpy(), mask[0].numpy(), eps)[2]
        found = voxel_statistics(logits, mask, eps).frequency_weighted_entropy
        assert float(found) == pytest.approx(expected, rel=1e-13)
    with pytest.raises(ValueError, match="eps must be positive"):
        voxel_statistics(logits, mask, 0)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(-50, 50), st.sampled_from([0.1, 1.0, 30.0]))
def test_properties(seed, shift, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 5, 9, generator=generator, dtype=torch.float64)
    statistics = voxel_statistics(logits)
    assert statistics.histogram.sum(1).tolist() == pytest.approx([1, 1], abs=1e-15)
    assert (statistics.entropy >= 0).all()
    assert (statistics.entropy <= np.log(5) + 1e-12).all()
    assert (statistics.frequency_weighted_entropy >= 0).all()
    assert (statistics.frequency_weighted_entropy <= statistics.entropy).all()  # the weights sum to 1
    order = torch.randperm(9, generator=generator)
    for values, others in zip(statistics, voxel_statistics(logits[:, :, order] + shift), strict=True):
        torch.testing.assert_close(values, others, rtol=1e-9, atol=1e-12)


def test_voxels_outside_the_mask_do_not_count():
    logits, mask = make()
    changed = torch.where(mask[:, None], logits, -logits)
    for values, others in zip(voxel_statistics(logits, mask), voxel_statistics(changed, mask), strict=True):
        assert torch.equal(values, others)


def test_carries_no_gradient():
    logits = torch.randn(1, 3, 4, requires_grad=True)
    assert not voxel_statistics(logits).entropy.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_refusals(dtype):
    logits, mask = make(dtype)
    empty = mask.clone()
    empty[[0, 2]] = False
    with pytest.raises(ValueError, match=r"positions \[0, 2\]"):
        voxel_statistics(logits, empty)
    with pytest.raises(ValueError, match="mask must be bool"):
        voxel_statistics(logits, mask.float())
    with pytest.raises(ValueError, match="mask must be bool"):
        voxel_statistics(logits, mask[:, :-1])
    with pytest.raises(ValueError, match="logits must be"):
        voxel_statistics(logits[:, :, 0, 0, 0])
    for bad in (float("nan"), float("inf"), -float("inf")):
        broken = logits.clone()
        broken[1, 2, 0, 0, 0] = bad
        for view in (broken, class_last(broken)):
            with pytest.raises(ValueError, match="position 1 are not finite"):
                voxel_statistics(view)
    with pytest.raises(ValueError, match="position 0 are not finite, or too large"):
        voxel_statistics(torch.tensor([3e38, -3e38]).view(1, 2, 1))


BITS_OF_SUMS = """
import torch
from al_lightning.acquisition.functional.voxel_kernel import class_sums
logits = 4 * torch.randn(18, 3_000, generator=torch.Generator().manual_seed(0))
for part in (logits, logits.t().contiguous().t(), logits.bfloat16()):
    print([value.hex() for value in class_sums(part)[1].tolist()])
"""


def test_the_process_that_compiles_finds_the_same_bits_as_those_after_it(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    found = [
        subprocess.run(
            [sys.executable, "-c", BITS_OF_SUMS],
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert "0x" in found[0]
    assert found[0] == found[1]
