"""Depth maps against a loop over the points."""

import numpy as np
import torch

from al_lightning.data.depth_maps import depth_maps
from al_lightning.types import CameraInputs

H, W = 12, 20


def inputs():
    """Two cameras: one along x, one along -y, each with an augmentation of its own."""
    axes = torch.tensor([[[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]], [[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]]])
    camera2ego = torch.eye(4).repeat(2, 1, 1)
    camera2ego[:, :3, :3], camera2ego[:, :3, 3] = axes, torch.tensor([[0.3, 0.1, 1.0], [0.0, -0.5, 1.2]])
    post_rotation, post_translation = torch.eye(3).repeat(2, 1, 1), torch.zeros(2, 3)
    post_rotation[1, :2, :2] = torch.tensor([[-0.8, 0.1], [0.1, 0.9]])
    post_translation[1, :2] = torch.tensor([17.0, -1.5])
    return CameraInputs(
        images=torch.zeros(2, 3, H, W),
        camera2ego=camera2ego,
        intrinsics=torch.tensor([[15.0, 0.0, 9.5], [0.0, 15.0, 5.5], [0.0, 0.0, 1.0]]).repeat(2, 1, 1),
        post_rotation=post_rotation,
        post_translation=post_translation,
        bda=torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0])),  # not a matter of the points
    )


def test_brute_force():
    cameras = inputs()
    points = np.random.default_rng(0).uniform((-20, -20, -2), (20, 20, 4), (3000, 3)).astype(np.float32)
    maps = depth_maps(points, cameras)
    assert maps.shape == (2, H, W)
    assert maps.dtype == torch.float32
    for n in range(2):
        expected = np.zeros((H, W))
        for point in points.astype(np.float64):
            x, y, depth, _ = np.linalg.inv(cameras.camera2ego[n].double().numpy()) @ [*point, 1.0]
            if depth <= 0:
                continue
            K = cameras.intrinsics[n].numpy()
            pixel = np.array([K[0, 0] * x / depth + K[0, 2], K[1, 1] * y / depth + K[1, 2]])
            u, v = cameras.post_rotation[n, :2, :2].double().numpy() @ pixel + cameras.post_translation[n, :2].numpy()
            if 0 <= u <= W - 1 and 0 <= v <= H - 1:
                row, column = round(v), round(u)
                if expected[row, column] == 0 or depth < expected[row, column]:
                    expected[row, column] = depth
        assert (expected > 0).sum() > 100
        np.testing.assert_allclose(maps[n], expected, rtol=1e-5)


def test_no_point_lands():
    behind = np.array([[-5.0, 5.0, 1.0]], dtype=np.float32)
    assert not depth_maps(behind, inputs()).any()
    assert not depth_maps(np.empty((0, 3), dtype=np.float32), inputs()).any()
