"""Cameras: the key-ego transform in closed form, and the pipeline of an image against FlashOcc's, written out."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from al_lightning.data.cameras import CameraRig, camera_inputs, key_ego_transforms
from al_lightning.data.images import ImageJitter, draw_image_augmentation
from al_lightning.types import DataFileError

SIZE = (256, 704)
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def random_poses(generator, *shape):
    """Proper rigid transforms (*shape, 4, 4), float64."""
    rotation, _ = torch.linalg.qr(torch.randn(*shape, 3, 3, dtype=torch.float64, generator=generator))
    pose = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    pose[..., :3, :3] = rotation * torch.linalg.det(rotation)[..., None, None]
    pose[..., :3, 3] = torch.randn(*shape, 3, dtype=torch.float64, generator=generator)
    return pose


class TestKeyEgo:
    def test_matches_numpy(self):
        g = torch.Generator().manual_seed(0)
        sensor2ego, ego2global = random_poses(g, 5, 4), random_poses(g, 5, 4)
        ours = key_ego_transforms(sensor2ego, ego2global, reference=2)
        for b in range(5):
            for n in range(4):
                key = np.linalg.inv(ego2global[b, 2].numpy())
                expected = key @ ego2global[b, n].numpy() @ sensor2ego[b, n].numpy()
                np.testing.assert_allclose(ours[b, n], expected, atol=1e-6)
        assert ours.dtype == torch.float32

    def test_the_reference_camera_is_the_first(self):
        g = torch.Generator().manual_seed(1)
        sensor2ego, ego2global = random_poses(g, 6), random_poses(g, 6)
        torch.testing.assert_close(key_ego_transforms(sensor2ego, ego2global)[0], sensor2ego[0].float())

    def test_far_from_the_map_origin_a_millimetre_survives(self):
        ego2global = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
        ego2global[:, :2, 3] = 123_456.789
        ego2global[1, 0, 3] += 0.001
        camera2key = key_ego_transforms(torch.eye(4).repeat(2, 1, 1), ego2global)
        assert camera2key[1, 0, 3].item() == pytest.approx(0.001, abs=1e-9)


def flashocc_image(path, ratio, left, flip, angle):
    """FlashOcc's `PrepareImageInputs.get_inputs` for one camera, step by step: (H, W, 3) float32, R (3, 3), t (3,)."""
    image = Image.open(path)
    width, height = image.size
    resized = (int(width * ratio), int(height * ratio))
    top = int((1 - 0.0) * resized[1]) - SIZE[0]
    crop = (left, top, left + SIZE[1], top + SIZE[0])
    rotation, translation = torch.eye(2), torch.zeros(2)
    image = image.resize(resized)
    image = image.crop(crop)
    if flip:
        image = image.transpose(method=Image.FLIP_LEFT_RIGHT)
    image = image.rotate(angle)
    rotation *= ratio
    translation -= torch.Tensor(crop[:2])
    if flip:
        mirror, shift = torch.Tensor([[-1, 0], [0, 1]]), torch.Tensor([crop[2] - crop[0], 0])
        rotation, translation = mirror.matmul(rotation), mirror.matmul(translation) + shift
    h = angle / 180 * np.pi
    turn = torch.Tensor([[np.cos(h), np.sin(h)], [-np.sin(h), np.cos(h)]])
    middle = torch.Tensor([crop[2] - crop[0], crop[3] - crop[1]]) / 2
    shift = turn.matmul(-middle) + middle
    rotation, translation = turn.matmul(rotation), turn.matmul(translation) + shift
    post_rotation, post_translation = torch.eye(3), torch.zeros(3)
    post_rotation[:2, :2], post_translation[:2] = rotation, translation
    pixels = np.array(image).astype(np.float32)
    cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels)  # as of `mmcv.imnormalize` with to_rgb, though it is RGB already
    cv2.subtract(pixels, np.float64(MEAN.reshape(1, -1)), pixels)
    cv2.multiply(pixels, 1 / np.float64(STD.reshape(1, -1)), pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1), post_rotation, post_translation


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """Three cameras of nuScenes' size."""
    folder, rng, g = tmp_path_factory.mktemp("images"), np.random.default_rng(0), torch.Generator().manual_seed(3)
    files = [folder / f"{name}.png" for name in "abc"]
    for path in files:
        coarse = Image.fromarray(rng.integers(0, 255, (90, 160, 3), np.uint8))
        coarse.resize((1600, 900)).save(path, compress_level=1)
    intrinsics = np.array([[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]]) * np.ones((3, 1, 1))
    return CameraRig(files, intrinsics, random_poses(g, 3).numpy(), random_poses(g, 3).numpy())


def assert_views_equal(inputs, expected):
    for n, (image, rotation, translation) in enumerate(expected):
        torch.testing.assert_close(inputs.images[n], image, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(inputs.post_rotation[n], rotation)
        torch.testing.assert_close(inputs.post_translation[n], translation, atol=1e-3, rtol=1e-5)


def test_validation_views_are_flashoccs(rig):
    inputs = camera_inputs(rig, SIZE, torch.eye(4), ImageJitter(), channel_order="bgr")
    assert_views_equal(inputs, [flashocc_image(path, 704 / 1600, 0, False, 0.0) for path in rig.images])


@pytest.mark.parametrize("seed", range(4))
def test_augmented_views_are_flashoccs(rig, seed):
    inputs = camera_inputs(rig, SIZE, torch.eye(4), ImageJitter(), np.random.default_rng(seed), "bgr")
    rng = np.random.default_rng(seed)
    draws = [draw_image_augmentation(rng, (900, 1600), SIZE, ImageJitter()) for _ in rig.images]
    assert_views_equal(
        inputs, [flashocc_image(p, d.ratio, d.left, d.flip, d.angle) for p, d in zip(rig.images, draws, strict=True)]
    )
    assert len({d.ratio for d in draws}) == len({d.angle for d in draws}) == len(draws)  # every camera on its own


def test_calibration_and_augmentation_of_the_ego_frame_are_passed_on(rig):
    bda = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    inputs = camera_inputs(rig, (32, 88), bda, ImageJitter())
    assert torch.equal(inputs.bda, bda)
    np.testing.assert_array_equal(inputs.intrinsics, rig.intrinsics.astype(np.float32))
    expected = np.linalg.inv(rig.ego2global[0]) @ rig.ego2global @ rig.sensor2ego
    np.testing.assert_allclose(inputs.camera2ego, expected, atol=1e-6)
    assert {value.dtype for value in vars(inputs).values() if value is not None} == {torch.float32}
    assert inputs.images.shape == (3, 3, 32, 88)


def test_the_order_of_channels(rig):
    rgb, bgr = (
        camera_inputs(rig, SIZE, torch.eye(4), ImageJitter(), channel_order=o).images.double() for o in ("rgb", "bgr")
    )
    mean, std = (torch.from_numpy(v)[:, None, None] for v in (MEAN, STD))
    torch.testing.assert_close((rgb * std + mean).flip(1), bgr * std + mean, atol=1e-4, rtol=0)
    assert not torch.allclose(rgb.flip(1), bgr, atol=0.1)  # the means do not move along


def test_a_missing_image_is_named(rig, tmp_path):
    broken = CameraRig([*rig.images[:2], tmp_path / "lost.jpg"], rig.intrinsics, rig.sensor2ego, rig.ego2global)
    with pytest.raises(DataFileError, match=r"lost\.jpg"):
        camera_inputs(broken, SIZE, torch.eye(4), ImageJitter())
