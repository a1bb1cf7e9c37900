import pytest
import torch

from al_lightning.models.geometry import depth_values, ego_points, frustum
from al_lightning.types import CameraInputs


def random_poses(generator, *shape):
    """Proper rigid transforms (*shape, 4, 4), float64."""
    rotation, _ = torch.linalg.qr(torch.randn(*shape, 3, 3, dtype=torch.float64, generator=generator))
    pose = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    pose[..., :3, :3] = rotation * torch.linalg.det(rotation)[..., None, None]
    pose[..., :3, 3] = torch.randn(*shape, 3, dtype=torch.float64, generator=generator)
    return pose


def random_inputs(seed=0, B=2, N=3):
    g = torch.Generator().manual_seed(seed)
    intrinsics = torch.tensor([[500.0, 0, 320], [0, 480, 180], [0, 0, 1]]).repeat(B, N, 1, 1)
    intrinsics[..., :2, :] *= 1 + 0.1 * torch.rand(B, N, 1, 1, generator=g)
    post_rotation = torch.eye(3).repeat(B, N, 1, 1)
    post_rotation[..., :2, :2] += 0.2 * torch.randn(B, N, 2, 2, generator=g)
    post_translation = torch.cat((20 * torch.randn(B, N, 2, generator=g), torch.zeros(B, N, 1)), dim=-1)
    bda = random_poses(g, B).float()
    camera2ego = random_poses(g, B, N).float()
    return CameraInputs(torch.zeros(B, N, 3, 32, 48), camera2ego, intrinsics, post_rotation, post_translation, bda)


class TestFrustum:
    @pytest.mark.parametrize(("step", "count", "last"), [(0.5, 88, 44.5), (1.0, 44, 44.0)])
    def test_official_depth_bins(self, step, count, last):
        values = depth_values((1.0, 45.0, step))
        assert (len(values), values[0].item(), values[-1].item()) == (count, 1.0, last)

    @pytest.mark.parametrize("depth", [(0.0, 45.0, 0.5), (5.0, 5.0, 1.0), (1.0, 45.0, 0.0), (1.0, 2.0, 0.3)])
    def test_bad_ranges(self, depth):
        with pytest.raises(ValueError, match="depth"):
            depth_values(depth)

    def test_ends_lie_on_the_first_and_last_pixel(self):
        points = frustum((32, 80), 16, (2.0, 5.0, 1.0))
        assert points.shape == (3, 2, 5, 3)
        assert points[0, 0, 0].tolist() == [0.0, 0.0, 2.0]
        assert points[-1, -1, -1].tolist() == [79.0, 31.0, 4.0]
        assert points[0, 0, :, 0].tolist() == [0.0, 19.75, 39.5, 59.25, 79.0]


class TestEgoPoints:
    def test_projecting_them_back_gives_the_pixels(self):
        inputs = random_inputs()
        points = frustum((32, 48), 16, (1.0, 40.0, 3.0))
        ego = ego_points(points, inputs)
        assert ego.shape == (2, 3, *points.shape)
        for b in range(2):
            for n in range(3):
                q = torch.cat((ego[b, n].double().reshape(-1, 3), torch.ones(points[..., 0].numel(), 1)), dim=-1)
                q = q @ torch.linalg.inv(inputs.bda[b].double() @ inputs.camera2ego[b, n].double()).T
                pixel = q[:, :3] @ inputs.intrinsics[b, n].double().T
                depth = pixel[:, 2:]
                image = torch.cat((pixel[:, :2] / depth, depth), dim=-1) @ inputs.post_rotation[b, n].double().T
                image = image + inputs.post_translation[b, n].double()
                torch.testing.assert_close(image.float(), points.reshape(-1, 3), atol=5e-3, rtol=1e-4)

    def test_autocast_does_not_touch_them(self):
        inputs, points = random_inputs(), frustum((32, 48), 16, (1.0, 40.0, 3.0))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = ego_points(points, inputs)
        assert torch.equal(rounded, ego_points(points, inputs))

    @pytest.mark.parametrize("field", ["camera2ego", "intrinsics", "post_translation", "bda"])
    def test_broken_calibration_is_an_error(self, field):
        inputs = random_inputs()
        getattr(inputs, field)[-1, 0, ...] = float("nan")
        with pytest.raises(ValueError, match="not finite"):
            ego_points(frustum((32, 48), 16, (1.0, 4.0, 1.0)), inputs)
