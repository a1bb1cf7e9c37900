import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from al_lightning.acquisition import functional
from al_lightning.acquisition.functional import voxels

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs Triton, which has wheels for Linux on x86-64"
)


@needs_triton
def test_the_kernel_in_the_interpreter():
    """No GPU is needed; see `interpreted_voxel_kernel`."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "acquisition/interpreted_voxel_kernel.py"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@needs_triton
@pytest.mark.parametrize(
    ("capability", "dtype", "class_last", "load"),
    [
        (80, "fp32", False, "ld.global.b32"),
        (80, "bf16", True, "ld.global.b32"),
        (90, "fp32", True, "ld.global.v2.b32"),
        (90, "fp16", False, "ld.global.b16"),
    ],
)
def test_compiles_for_gpus_and_reads_every_logit_once(monkeypatch, tmp_path, capability, dtype, class_last, load):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from al_lightning.acquisition.functional.device_voxel_kernel import BLOCK, _sum

    classes = 18
    values = {"K": classes, "CLASS_LAST": class_last, "MASKED": True, "BLOCK": BLOCK}
    types = {"logits": f"*{dtype}", "mask": "*i1", "sums": "*fp64", "V": "i32", **dict.fromkeys(values, "constexpr")}
    aligned = {(argument,): [["tt.divisibility", 16]] for argument in range(4)}
    kernel = triton.compile(
        ASTSource(_sum, types, {(_sum.arg_names.index(name),): value for name, value in values.items()}, aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": BLOCK // 32, "enable_fp_fusion": True},
    )
    loads = [line.split() for line in kernel.asm["ptx"].splitlines() if "ld.global" in line]
    # A thread reads its byte of the mask and its logits, two at a time where they lie side by side.
    assert [line.count(load) for line in loads] == [0] + [1] * (classes // 2 if class_last else classes)
    assert len(kernel.asm["cubin"]) > 0


def test_without_triton_one_warning_and_the_reference(monkeypatch):
    device = torch.device("cuda", 0)
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "al_lightning.acquisition.functional.device_voxel_kernel", raising=False)
    monkeypatch.delattr(functional, "device_voxel_kernel", raising=False)
    voxels._device_kernel.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"on cuda:0 take the slower way .*triton"):
            assert voxels._device_kernel(device) is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert voxels._device_kernel(device) is None
    finally:
        voxels._device_kernel.cache_clear()
    assert voxels._device_kernel(torch.device("cpu")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("class_last", [False, True])
def test_a_gpu_finds_what_the_reference_finds(dtype, masked, class_last):
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(3, 18, 40, 40, 9, generator=generator)).to(dtype)
    mask = torch.rand(3, 40, 40, 9, generator=generator) < 0.4 if masked else None
    expected = voxels.voxel_statistics(logits.double(), mask)
    if class_last:
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    found = voxels.voxel_statistics(logits.cuda(), None if mask is None else mask.cuda())
    for values, wanted in zip(found, expected, strict=True):
        assert values.is_cuda
        torch.testing.assert_close(values.double().cpu(), wanted, rtol=2e-6, atol=2e-7)
