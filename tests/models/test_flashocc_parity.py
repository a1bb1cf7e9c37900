"""The official FlashOcc, reproduced: same weights and inputs in, same numbers out at every stage."""

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import recipes
import torch

from al_lightning.data.cameras import key_ego_transforms
from al_lightning.losses import OccupancyCrossEntropy
from al_lightning.models import FlashOcc, flashocc_m0, flashocc_r50
from al_lightning.types import CameraInputs, OccupancyAnnotations, OccupancyPrediction, VoxelGrid

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
GRID = VoxelGrid((-40.0, -40.0, -1.0), (40.0, 40.0, 5.4), (200, 200, 16))


@dataclass
class Stages:
    """What a forward pass yields on its way; names as in the golden files."""

    feat: np.ndarray
    depth: np.ndarray
    coor: np.ndarray
    bev: np.ndarray
    enc: np.ndarray
    logits: torch.Tensor  # (B, K, X, Y, Z)


def relative_error(ours, golden):
    assert ours.shape == golden.shape
    return np.abs(ours - golden).max() / np.abs(golden).max()


def homogeneous(bda):
    out = torch.eye(4).repeat(len(bda), 1, 1)
    out[:, :3, :3] = bda
    return out


@torch.no_grad()
def run(network: FlashOcc, inputs: CameraInputs) -> Stages:
    seen = {}
    for name in ("img_neck", "img_view_transformer", "img_bev_encoder_neck"):
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _module, _args, output, name=name: seen.update({name: output}))
    prediction = network.eval()(inputs)
    transformer = network.img_view_transformer
    depth, _ = transformer.lift(seen["img_neck"][None])
    assert prediction.features is seen["img_bev_encoder_neck"]
    return Stages(
        feat=seen["img_neck"].numpy(),
        depth=depth[0].numpy(),
        coor=transformer.points(inputs)[0].numpy(),
        bev=seen["img_view_transformer"].numpy(),
        enc=seen["img_bev_encoder_neck"].numpy(),
        logits=prediction.logits,
    )


@pytest.mark.parametrize(
    ("factory", "listing", "parameters"),
    [
        (flashocc_r50, "keys_flashocc_r50.txt", 44_744_312),
        (flashocc_m0, "keys_flashocc_r50_m0.txt", 39_938_892),
    ],
)
def test_names_shapes_and_types_are_the_official_ones(factory, listing, parameters):
    with torch.device("meta"):
        network = factory(GRID)
    ours = [f"{key} {tuple(value.shape)} {value.dtype}" for key, value in network.state_dict().items()]
    assert ours == (GOLDEN / listing).read_text().splitlines()
    assert len(ours) == 430
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


class TestSeed20:
    """Recipe 1: real calibration, weights with strong activations."""

    @pytest.fixture(scope="class")
    def golden(self):
        with np.load(GOLDEN / "flashocc_r50_seed20.npz") as file:
            return dict(file)

    @pytest.fixture(scope="class")
    def stages(self, golden):
        network = flashocc_r50(GRID)
        shapes = json.loads((GOLDEN / "flashocc_r50_keys.json").read_text())
        network.load_state_dict({key: self.weight(key, tuple(shape)) for key, shape in shapes.items()})
        image = np.random.default_rng(20).standard_normal((1, 6, 3, 256, 704), dtype=np.float32)
        g = {key: torch.from_numpy(value) for key, value in golden.items() if value.ndim > 1}
        poses = key_ego_transforms(g["sensor2ego"], g["ego2global"])
        inputs = CameraInputs(
            torch.from_numpy(image), poses, g["intrinsics"], g["post_rots"], g["post_trans"], homogeneous(g["bda"])
        )
        return run(network, inputs)

    @staticmethod
    def weight(key, shape):
        rng = np.random.default_rng([20, zlib.crc32(key.encode())])
        if key.endswith("num_batches_tracked"):
            return torch.tensor(0)
        if key.endswith("running_var"):
            value = 0.5 + rng.random(shape)
        elif key.endswith("running_mean"):
            value = 0.1 * rng.standard_normal(shape)
        elif len(shape) > 1:
            value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif key.endswith("weight"):
            value = 0.6 + 0.1 * rng.standard_normal(shape)
        else:
            value = 0.1 * rng.standard_normal(shape)
        return torch.from_numpy(value.astype(np.float32))

    def test_stages(self, golden, stages):
        logits = stages.logits.permute(0, 2, 3, 4, 1).numpy()
        errors = {
            "feat": relative_error(stages.feat[:, :, ::4, ::8], golden["feat_sub"]),
            "bev": relative_error(stages.bev[0, :, ::10, ::10], golden["bev_sub"]),
            "logits": relative_error(logits[0, ::8, ::8, ::4], golden["logits_sub"]),
        }
        assert max(errors.values()) < 1e-4, errors

    def test_classes_differ_only_where_two_classes_tie(self, golden, stages):
        best = stages.logits[0].topk(2, dim=0)
        differ = best.indices[0].numpy() != golden["argmax"]
        tie = (best.values[0] - best.values[1]).numpy() < 1e-3
        assert tie.sum() < 500
        assert not (differ & ~tie).any()

    def test_loss(self, golden, stages):
        g = np.random.default_rng(21)
        labels = torch.from_numpy(g.integers(0, 18, (1, 200, 200, 16)))
        mask = torch.from_numpy(g.random((1, 200, 200, 16)) < 0.3)
        prediction = OccupancyPrediction(stages.logits)
        loss = OccupancyCrossEntropy()(prediction, OccupancyAnnotations(labels, mask))["cross_entropy"]
        assert float(loss) == pytest.approx(float(golden["loss"]), rel=1e-5)


@pytest.mark.parametrize("size", ["r50", "m0"], scope="class")
class TestForward:
    """Recipe 2: a synthetic rig, both official sizes, every stage."""

    @pytest.fixture(scope="class")
    def golden(self, size):
        with np.load(GOLDEN / "flashocc_forward.npz") as file:
            return {re.sub(f"^{size}_", "", key): file[key] for key in file if key.startswith(size)}

    @pytest.fixture(scope="class")
    def stages(self, size):
        network = {"r50": flashocc_r50, "m0": flashocc_m0}[size](GRID)
        network.load_state_dict(recipes.fill_state_dict(network.state_dict()))
        images, sensor2ego, ego2global, intrinsics, rotation, translation, bda = recipes.flashocc_inputs()
        poses = key_ego_transforms(sensor2ego, ego2global)
        return run(network, CameraInputs(images, poses, intrinsics, rotation, translation, homogeneous(bda)))

    def test_stages(self, golden, stages):
        logits = stages.logits.permute(0, 2, 3, 4, 1).numpy()
        ours = {
            "feat": stages.feat[:, ::32, ::4, ::8],
            "depth": stages.depth[:, ::11, ::4, ::8],
            "coor": stages.coor[:, ::11, ::4, ::8],
            "bev": stages.bev[0, ::8, ::10, ::10],
            "enc": stages.enc[0, ::32, ::20, ::20],
            "logits": logits[0, ::20, ::20, ::3],
        }
        errors = {name: relative_error(value, golden[name]) for name, value in ours.items()}
        assert max(errors.values()) < 1e-4, errors
        assert stages.bev.sum(dtype=np.float64) == pytest.approx(float(golden["bev_sum"]), rel=1e-5)

    def test_label_histogram(self, golden, stages):
        histogram = np.bincount(stages.logits.argmax(1).flatten().numpy(), minlength=18)
        assert np.abs(histogram - golden["label_hist"]).sum() <= 8  # ties of two classes may fall either way

    def test_losses(self, size, golden, stages):
        annotations = OccupancyAnnotations(*recipes.flashocc_labels())
        expected = {(None, True): "loss_mask"}
        if size == "r50":  # of m0 there is the one number
            expected |= {
                (frequency, use_mask): f"loss_cb{int(frequency is not None)}_mask{int(use_mask)}"
                for frequency in (None, "occ3d_nuscenes")
                for use_mask in (False, True)
            }
        for (frequency, use_mask), name in expected.items():
            losses = OccupancyCrossEntropy(frequency, use_mask)(OccupancyPrediction(stages.logits), annotations)
            assert float(losses["cross_entropy"]) == pytest.approx(float(golden[name]), rel=1e-5), name
