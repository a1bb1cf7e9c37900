"""Image augmentation: official amounts, pixels where the homography says, chance only from the generator."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from al_lightning.data.images import (
    ImageAugmentation,
    ImageJitter,
    augment_image,
    draw_image_augmentation,
    evaluation_image_augmentation,
    image_homography,
    normalize_image,
    read_image,
)
from al_lightning.types import DataFileError

NUSCENES = ((900, 1600), (256, 704))


def test_evaluation_numbers_of_flashocc():
    augmentation = evaluation_image_augmentation(*NUSCENES)
    assert augmentation == ImageAugmentation(0.44, (396, 704), top=140, left=0, size=(256, 704))
    R, t = image_homography(augmentation)
    torch.testing.assert_close(R, torch.diag(torch.tensor([0.44, 0.44, 1.0])))
    assert t.tolist() == [0, -140, 0]


def test_evaluation_numbers_of_kitti():
    # 1280 / 1241 * 1241 is a hair below 1280 in floating point; truncated it would leave a black column.
    assert int(1280 / 1241 * 1241) == 1279
    assert evaluation_image_augmentation((376, 1241), (384, 1280)).resized == (387, 1280)
    short = evaluation_image_augmentation((188, 620), (192, 608))
    assert (short.resized, short.top, short.left) == ((184, 608), -8, 0)


def test_rows_missing_at_the_top_are_black():
    image = Image.fromarray(np.random.default_rng(0).integers(1, 255, (20, 30, 3), dtype=np.uint8))
    pixels = augment_image(image, evaluation_image_augmentation((20, 30), (24, 30)))
    assert (pixels[:4] == 0).all()
    np.testing.assert_array_equal(pixels[4:], np.asarray(image))


def test_crop_keeps_the_bottom_and_resize_is_bicubic():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    pixels = augment_image(image, evaluation_image_augmentation((40, 60), (10, 30)))
    np.testing.assert_array_equal(pixels, np.asarray(image.resize((30, 20), Image.Resampling.BICUBIC))[10:])


def test_draws_stay_in_their_ranges_and_fill_them():
    jitter = ImageJitter(resize=(-0.05, 0.1), rotation=(-5.0, 2.0), flip=0.25)
    generator = np.random.default_rng(0)
    draws = [draw_image_augmentation(generator, *NUSCENES, jitter) for _ in range(600)]
    ratios, angles = np.array([d.ratio for d in draws]), np.array([d.angle for d in draws])
    assert 0.39 <= ratios.min() < 0.40
    assert 0.53 < ratios.max() <= 0.54
    assert -5 <= angles.min() < -4.8
    assert 1.8 < angles.max() <= 2
    assert 0.18 < np.mean([d.flip for d in draws]) < 0.32
    assert all(d.resized == (int(900 * d.ratio + 1e-6), int(1600 * d.ratio + 1e-6)) for d in draws)
    assert all(d.top == d.resized[0] - 256 for d in draws)
    room = np.array([max(0, d.resized[1] - 704) for d in draws])
    left = np.array([d.left for d in draws])
    assert (left[room == 0] == 0).all()
    assert ((left >= 0) & (left <= room)).all()
    assert (left[room > 50] > 0.8 * room[room > 50]).any()
    assert (left[room > 50] < 0.2 * room[room > 50]).any()


def test_defaults_are_the_papers_amounts():
    assert ImageJitter() == ImageJitter(resize=(-0.06, 0.11), rotation=(-5.4, 5.4), flip=0.5)


def test_same_generator_same_draw_and_no_global_chance():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (draw_image_augmentation(np.random.default_rng(5), *NUSCENES, ImageJitter()) for _ in range(2))
    assert first == again
    assert first != draw_image_augmentation(np.random.default_rng(6), *NUSCENES, ImageJitter())
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_homography_closed_form():
    """The three official steps, written out for one point."""
    augmentation = ImageAugmentation(0.5, (450, 800), top=194, left=30, size=(256, 704), flip=True, angle=5.0)
    u, v = 0.5 * 700 - 30, 0.5 * 600 - 194
    u = 704 - u
    a = np.deg2rad(5.0)
    expected = (
        np.cos(a) * (u - 352) + np.sin(a) * (v - 128) + 352,
        -np.sin(a) * (u - 352) + np.cos(a) * (v - 128) + 128,
    )
    R, t = image_homography(augmentation)
    np.testing.assert_allclose((R @ torch.tensor([700.0, 600.0, 1.0]) + t)[:2], expected, atol=1e-3)
    assert R[2].tolist() == [0, 0, 1]
    assert R[:, 2].tolist() == [0, 0, 1]
    assert t[2] == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), u=st.floats(60, 240), v=st.floats(50, 110))
def test_pixels_move_where_the_homography_says(seed, u, v):
    """A bright disc in the source is found, by its centre of mass, at the transformed place."""
    source = (120, 300)
    rows, columns = np.mgrid[: source[0], : source[1]] + 0.5
    disc = 255 * (((columns - u) ** 2 + (rows - v) ** 2) < 16)
    image = Image.fromarray(np.repeat(disc[..., None], 3, axis=2).astype(np.uint8))
    jitter = ImageJitter(resize=(-0.3, 0.4), rotation=(-25, 25))
    augmentation = draw_image_augmentation(np.random.default_rng(seed), source, (100, 280), jitter)
    R, t = image_homography(augmentation)
    expected = (R @ torch.tensor([u, v, 1.0]) + t)[:2].numpy()
    pixels = augment_image(image, augmentation)[..., 0].astype(float)
    assert pixels.shape == (100, 280)
    if not ((expected > 12) & (expected < (268, 88))).all():
        return  # cropped away, whole or in part
    rows, columns = np.mgrid[:100, :280] + 0.5
    found = np.array([(columns * pixels).sum(), (rows * pixels).sum()]) / pixels.sum()
    # The nominal ratio differs from the truncated one by up to a pixel over the whole image.
    np.testing.assert_allclose(found, expected, atol=1.3)


def test_normalize_is_rgb_with_imagenet_statistics():
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[..., 0] = 200  # red
    values = normalize_image(pixels)
    assert values.dtype == torch.float32
    assert values.shape == (3, 2, 3)
    np.testing.assert_allclose(
        values[:, 1, 2], [(200 - 123.675) / 58.395, -116.28 / 57.12, -103.53 / 57.375], rtol=1e-6
    )


def test_normalize_bgr_has_the_means_of_rgb_in_place():
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[...] = (200, 100, 50)
    values = normalize_image(pixels, "bgr")
    np.testing.assert_allclose(
        values[:, 1, 2], [(50 - 123.675) / 58.395, (100 - 116.28) / 57.12, (200 - 103.53) / 57.375], rtol=1e-6
    )
    assert values.is_contiguous()


def test_read_image_is_rgb_whatever_the_file(tmp_path):
    Image.fromarray(np.full((4, 5), 7, dtype=np.uint8)).save(tmp_path / "gray.png")
    image = read_image(tmp_path / "gray.png")
    assert (image.mode, image.size) == ("RGB", (5, 4))


@pytest.mark.parametrize("kind", ["missing", "text", "truncated", "damaged", "folder"])
def test_unreadable_images_are_named(tmp_path, kind):
    path = tmp_path / "000000.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.png")
    good = (tmp_path / "good.png").read_bytes()
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        middle = len(good) // 2
        content = {
            "text": b"no image",
            "truncated": good[:middle],
            "damaged": good[:middle] + bytes(64) + good[middle + 64 :],
        }
        path.write_bytes(content[kind])
    with pytest.raises(DataFileError, match=r"000000\.png"):
        read_image(path)


def test_wrong_jitter_is_refused():
    with pytest.raises(ValueError, match=r"ImageJitter\.resize"):
        ImageJitter(resize=(0.2, 0.1))
    with pytest.raises(ValueError, match=r"ImageJitter\.rotation"):
        ImageJitter(rotation=(5.0,))
    with pytest.raises(ValueError, match=r"ImageJitter\.flip"):
        ImageJitter(flip=1.5)
    with pytest.raises(ValueError, match="leaves nothing"):
        draw_image_augmentation(np.random.default_rng(0), (900, 1600), (45, 80), ImageJitter(resize=(-0.05, -0.05)))
