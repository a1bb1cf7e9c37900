"""The official OccFormer for SemanticKITTI, reproduced: same weights and inputs in, same numbers out at every stage."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import recipes
import torch
from torch import nn

from al_lightning.models import occformer_kitti
from al_lightning.models.occformer import voxel_scores
from al_lightning.models.occformer.depth import camera_numbers
from al_lightning.models.occformer.layers import DropPath
from al_lightning.types import CameraInputs, VoxelGrid

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
GRID = VoxelGrid((0, -25.6, -2), (51.2, 25.6, 4.4), (256, 256, 32))
WHOLE = "AL_WHOLE_OCCFORMER"

TOLERANCE = {
    "img_feat": 5e-6,
    "enc1": 5e-6,
    "enc3": 5e-6,
    "neck1": 5e-6,
    "cls_last": 7e-5,
    "mask_last": 1e-5,
    "out": 3e-5,
}
"""Largest error relative to the largest value where it is not 1e-6; the golden numbers are a float32 run themselves."""


@pytest.fixture(scope="module")
def shell():
    """The network without numbers."""
    with torch.device("meta"):
        return occformer_kitti(GRID)


def test_names_shapes_and_types_are_the_official_ones(shell):
    official = {}
    for line in (GOLDEN / "keys_occformer_kitti.txt").read_text().splitlines():
        key, shape, dtype = re.fullmatch(r"(\S+) \((.*)\) (torch\.\w+)", line).groups()
        official[key] = tuple(int(size) for size in shape.split(",") if size.strip()), dtype
    ours = {key: (tuple(value.shape), str(value.dtype)) for key, value in shell.state_dict().items()}
    assert ours == official
    assert len(ours) == 1984
    constants = sum(getattr(shell.img_view_transformer, name).numel() for name in ("dx", "bx", "nx", "frustum"))
    count = sum(parameter.numel() for parameter in shell.parameters())
    assert count + constants == 203_331_762  # the official code counts constants of the geometry as parameters


def test_randomness_sits_where_the_official_one_does(shell):
    dropouts = Counter(module.p for module in shell.modules() if isinstance(module, nn.Dropout) and module.p)
    assert dropouts == {0.5: 1, 0.1: 8}
    attentions = [module for module in shell.modules() if isinstance(module, nn.MultiheadAttention)]
    assert [module.dropout for module in attentions] == [0.0] * 18
    paths = {name: module.p for name, module in shell.named_modules() if isinstance(module, DropPath)}
    trunk = [p for name, p in paths.items() if name.startswith("img_backbone")]
    np.testing.assert_allclose(trunk, np.linspace(0, 0.2, 55), atol=1e-12)
    assert [p for name, p in paths.items() if not name.startswith("img_backbone")] == [0.2] * 8


def golden_inputs():
    images, rotation, translation, intrinsics, post_rotation, post_translation, bda = recipes.occformer_inputs()
    K, column = intrinsics[..., :3, :3], intrinsics[..., :3, 3]
    camera2ego = torch.eye(4).repeat(1, 1, 1, 1)
    camera2ego[..., :3, :3] = rotation
    shift = torch.linalg.solve(K, column.unsqueeze(-1))
    camera2ego[..., :3, 3] = translation - (rotation @ shift).squeeze(-1)
    return CameraInputs(images, camera2ego, K, post_rotation, post_translation, bda, column)


def filled(network):
    """The network with the golden weights."""
    network.load_state_dict(recipes.fill_state_dict(network.state_dict()))
    return network.eval()


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "occformer_forward.npz") as file:
        return dict(file)


def check(golden, stages):
    errors = {}
    for name, ours in stages.items():
        assert ours.shape == golden[name].shape, name
        errors[name] = np.abs(ours.numpy() - golden[name]).max() / np.abs(golden[name]).max()
    assert {name: error for name, error in errors.items() if error > TOLERANCE.get(name, 1e-6)} == {}


def lifted(network, inputs):
    """Stages up to the volume, thinned as in the golden file, and the volume."""
    with torch.no_grad():
        features = network.extract(inputs.images)
        volume, depth = network.img_view_transformer(features, inputs)
    stages = {
        "mlp_input": camera_numbers(inputs),
        "img_feat": features[0, 0, ::40, ::4, ::8],
        "depth": depth[0, 0, ::8, ::4, ::8],
        "vol": volume[0, :4, ::8, ::8, ::4],
        "vol_sum": volume[0].double().sum((1, 2, 3)),
    }
    return stages, volume


def test_from_images_to_the_volume(golden):
    with torch.device("meta"):
        network = occformer_kitti(GRID)
    for name in ("img_bev_encoder_backbone", "img_bev_encoder_neck", "pts_bbox_head"):
        setattr(network, name, nn.Identity())
    check(golden, lifted(filled(network.to_empty(device="cpu")), golden_inputs())[0])


@pytest.mark.skipif(WHOLE not in os.environ, reason=f"takes a minute on two idle cores; asked for by {WHOLE}=1")
def test_from_images_to_voxel_scores(golden):
    network = filled(occformer_kitti(GRID))
    stages, volume = lifted(network, golden_inputs())
    with torch.no_grad():
        encoded = network.img_bev_encoder_backbone(volume)
        mask_features, memories = network.img_bev_encoder_neck(encoded)
        masks = network.pts_bbox_head(mask_features, memories)
        scores = voxel_scores(masks.class_logits[-1], masks.mask_logits[-1], GRID.shape)
    stages |= {
        "enc1": encoded[1][0, :4, ::8, ::8, ::4],
        "enc3": encoded[3][0, :4, ::4, ::4],
        "neck1": memories[-1][0, :2, ::8, ::8, ::4],
        "cls_last": masks.class_logits[-1, 0],
        "mask_last": masks.mask_logits[-1, 0, :3, ::16, ::16, ::8],
        "out": scores[0, :, ::32, ::32, ::8],
    }
    check(golden, stages)
