import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.acquisition import frustum_visibility, in_frustum
from al_lightning.acquisition.frustum_kernel import centers_in_images
from al_lightning.acquisition.sight_kernel import seen_by_cameras
from al_lightning.acquisition.visibility import TOUCH, together_in_images
from al_lightning.types import CameraInputs, VoxelGrid

GRID = VoxelGrid((-4.0, -3.0, -1.0), (4.0, 3.0, 2.0), (8, 10, 5))  # voxels of 1.0 x 0.6 x 0.6 m


def blocked(occupied: np.ndarray, start: np.ndarray, end: np.ndarray, target: tuple[int, ...]) -> bool:
    """Does the segment run through the interior of an occupied voxel other than its ends? By clipping to each box."""
    for box in np.argwhere(occupied):
        if tuple(box) == target or (box == np.floor(start)).all():
            continue
        enter, leave = 0.0, 1.0
        for a, b, low in zip(start, end, box, strict=True):
            if a == b:
                if not low < a < low + 1:
                    enter = 2.0
                continue
            near, far = sorted(((low - a) / (b - a), (low + 1 - a) / (b - a)))
            enter, leave = max(enter, near), min(leave, far)
        if leave - enter > 1e-9:
            return True
    return False


def visible(occupied: np.ndarray, start: np.ndarray, target: tuple[int, ...]) -> bool:
    """The centre, and of an occupied voxel the centres of the faces that the camera is in front of."""
    center = np.array(target) + 0.5
    ends = [center]
    if occupied[target]:
        for axis, side in itertools.product(range(3), (-0.5, 0.5)):
            if (start[axis] - center[axis]) * side > 0.25:
                ends.append(center + side * np.eye(3)[axis])
    return any(not blocked(occupied, start, end, target) for end in ends)


def brute_force(occupied: np.ndarray, grid: VoxelGrid, origin: np.ndarray) -> np.ndarray:
    start = (origin - np.array(grid.lower)) / np.array(grid.voxel_size)
    return np.array([visible(occupied, start, i) for i in np.ndindex(*grid.shape)]).reshape(grid.shape)


ORIGINS = {
    "inside": (0.3, 0.4, 0.9),
    "a corner of voxels": (0.0, 0.0, 0.2),
    "a centre of a voxel": (0.5, 0.3, 0.5),
    "on the border": (-4.0, 0.1, 0.5),
    "outside": (-6.3, 1.2, 3.1),
    "far outside": (50.0, -40.0, 30.0),
}


def line_of_sight(occupied: torch.Tensor, grid: VoxelGrid, origin: torch.Tensor) -> torch.Tensor:
    """Whether voxels are seen from a point, in metres, whatever the direction."""
    camera = (origin.double() - torch.tensor(grid.lower)) / torch.tensor(grid.voxel_size, dtype=torch.float64)
    return seen_by_cameras(occupied, torch.ones_like(occupied)[None], camera[None], TOUCH)


@pytest.mark.parametrize("share", [0.02, 0.2])
@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
def test_line_of_sight_equals_brute_force(origin, share):
    occupied = np.random.default_rng(0).random(GRID.shape) < share
    seen = line_of_sight(torch.from_numpy(occupied), GRID, torch.tensor(origin))
    expected = brute_force(occupied, GRID, torch.tensor(origin).double().numpy())
    assert 0 < expected.sum() < expected.size  # neither all nor nothing
    np.testing.assert_array_equal(seen.numpy(), expected)


def test_line_of_sight_on_random_grids():
    generator = np.random.default_rng(1)
    for _ in range(30):
        shape = tuple(int(x) for x in generator.integers(1, 7, 3))
        grid = VoxelGrid((0.0, 0.0, 0.0), tuple(generator.uniform(1, 5, 3)), shape)
        occupied = generator.random(shape) < 0.2
        origin = generator.uniform(-2, 6, 3)
        seen = line_of_sight(torch.from_numpy(occupied), grid, torch.from_numpy(origin))
        np.testing.assert_array_equal(seen.numpy(), brute_force(occupied, grid, origin))


def test_a_wall_hides_what_is_behind_it_and_not_itself():
    grid = VoxelGrid((0, 0, 0), (9, 3, 1), (9, 3, 1))
    occupied = torch.zeros(grid.shape, dtype=torch.bool)
    occupied[4] = True
    seen = line_of_sight(occupied, grid, torch.tensor([0.5, 1.5, 0.5]))
    assert seen[:5].all()
    assert not seen[5:].any()


def test_a_road_is_seen_to_its_end():
    grid = VoxelGrid((0, 0, 0), (40, 1, 4), (40, 1, 4))
    occupied = torch.zeros(grid.shape, dtype=torch.bool)
    occupied[:, :, 0] = True
    seen = line_of_sight(occupied, grid, torch.tensor([0.5, 0.5, 2.3]))
    assert seen.all()  # to most centres of the road, the segment passes through the road


def test_an_edge_that_is_touched_does_not_block():
    # From the centre of voxel (0, 0) the diagonal passes exactly between the voxels (0, 1) and (1, 0).
    grid = VoxelGrid((0, 0, 0), (3, 3, 1), (3, 3, 1))
    occupied = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)[..., None]
    seen = line_of_sight(occupied, grid, torch.tensor([0.5, 0.5, 0.5]))
    assert seen[:, :, 0].tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_the_voxel_of_the_camera_does_not_block():
    grid = VoxelGrid((0, 0, 0), (4, 1, 1), (4, 1, 1))
    occupied = torch.tensor([False, True, False, False])[:, None, None]
    assert line_of_sight(occupied, grid, torch.tensor([1.2, 0.5, 0.5])).all()


def test_refuses_another_shape():
    occupied = torch.zeros(8, 10, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="occupied must be bool of the grid's shape"):
        frustum_visibility(occupied[None], GRID, cameras(1, 1))


def pose(yaw: float, pitch: float, position) -> np.ndarray:
    """Camera to ego: looks along yaw (0: x axis), down by pitch."""
    forward = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), -math.sin(pitch)])
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = position
    return matrix


def cameras(batch: int, count: int, seed: int = 0) -> CameraInputs:
    """Cameras with every augmentation in use."""
    generator = np.random.default_rng(seed)
    shape = (batch, count)
    camera2ego, intrinsics = np.zeros((*shape, 4, 4)), np.zeros((*shape, 3, 3))
    rotation, translation, bda = np.zeros((*shape, 3, 3)), np.zeros((*shape, 3)), np.zeros((batch, 4, 4))
    for b in range(batch):
        bda[b] = np.diag([*generator.choice([-1.0, 1.0], 3), 1.0])
        bda[b, :3, 3] = generator.uniform(-0.3, 0.3, 3)
        for n in range(count):
            yaw, pitch = 2 * math.pi * n / count + generator.uniform(-0.2, 0.2), generator.uniform(-0.1, 0.3)
            camera2ego[b, n] = pose(yaw, pitch, generator.uniform(-0.7, 0.7, 3))
            intrinsics[b, n] = [[50, 0, 38], [0, 55, 20], [0, 0, 1]]
            angle, ratio = generator.uniform(-0.2, 0.2), generator.uniform(0.4, 0.6)
            rotation[b, n, :2, :2] = ratio * np.array(
                [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
            )
            rotation[b, n, 2, 2] = 1
            translation[b, n, :2] = generator.uniform(-4, 4, 2)
    tensors = (torch.from_numpy(x).float() for x in (camera2ego, intrinsics, rotation, translation, bda))
    return CameraInputs(torch.zeros(*shape, 3, 20, 36), *tensors)


def seen_by(inputs: CameraInputs, b: int, n: int, center) -> bool:
    """Project one point, step by step."""
    bda, camera2ego = inputs.bda[b].double().numpy(), inputs.camera2ego[b, n].double().numpy()
    x, y, z, _ = np.linalg.solve(camera2ego, np.linalg.solve(bda, [*center, 1.0]))
    if z <= 0:
        return False
    pixel = inputs.intrinsics[b, n].double().numpy() @ [x / z, y / z, 1.0]
    rotation, translation = inputs.post_rotation[b, n].double().numpy(), inputs.post_translation[b, n].double().numpy()
    u, v, _ = rotation @ pixel + translation
    height, width = inputs.images.shape[-2:]
    return bool(0 <= u < width and 0 <= v < height)


def test_in_frustum_equals_the_projection_of_every_voxel():
    inputs = cameras(2, 3)
    seen = in_frustum(GRID, inputs)
    centers = GRID.centers().double().numpy()
    expected = np.array(
        [[[seen_by(inputs, b, n, c) for c in centers.reshape(-1, 3)] for n in range(3)] for b in range(2)]
    ).reshape(2, 3, *GRID.shape)
    assert expected.any((2, 3, 4)).all()
    assert not expected.all((2, 3, 4)).any()
    np.testing.assert_array_equal(seen.numpy(), expected)


def test_the_frustum_of_the_kernel_is_that_of_the_reference():
    projections = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centers = [torch.linspace(-2, 2, count, dtype=torch.float64) for count in (11, 13, 7)]
    expected = together_in_images(projections, centers, (3, 5))
    assert expected.any()
    assert torch.equal(centers_in_images(projections, centers, (3, 5)), expected)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_columns_that_no_image_shows_are_left_out_and_no_others(seed, on_borders):
    random = np.random.default_rng(seed)
    projections = random.normal(size=(6, 3, 4)) * random.choice([1e-3, 1, 1e3], (6, 1, 1))
    axes = [np.sort(random.normal(size=count)) for count in random.integers(1, 20, 3)]
    if on_borders:  # small whole numbers: many centres fall exactly onto an edge of the image
        projections, axes = random.integers(-2, 3, (6, 3, 4)).astype(float), [np.arange(-3.0, 4)] * 3
    given_ = torch.from_numpy(projections), [torch.from_numpy(axis) for axis in axes], (3, 5)
    assert torch.equal(centers_in_images(*given_), together_in_images(*given_))


def test_frustum_visibility_needs_frustum_and_line_of_sight_of_one_camera():
    inputs = cameras(2, 3, seed=1)
    occupied = torch.from_numpy(np.random.default_rng(2).random((2, *GRID.shape)) < 0.1)
    seen = frustum_visibility(occupied, GRID, inputs)
    for b in range(2):
        expected = torch.zeros(GRID.shape, dtype=torch.bool)
        for n in range(3):
            origin = (inputs.bda[b].double() @ inputs.camera2ego[b, n].double())[:3, 3]
            expected |= in_frustum(GRID, inputs)[b, n] & line_of_sight(occupied[b], GRID, origin)
        assert 0 < int(expected.sum()) < expected.numel()
        assert torch.equal(seen[b], expected)


def test_flipping_the_world_flips_the_visibility():
    # bda flips x: the same scene in the flipped frame must look the same.
    grid = VoxelGrid((-4.0, -3.0, -1.0), (4.0, 3.0, 2.0), (8, 6, 3))
    inputs = cameras(1, 4, seed=3)
    inputs.bda[:] = torch.eye(4)
    occupied = torch.from_numpy(np.random.default_rng(4).random((1, *grid.shape)) < 0.15)
    plain = frustum_visibility(occupied, grid, inputs)
    inputs.bda[:] = torch.diag(torch.tensor([-1.0, 1, 1, 1]))
    assert torch.equal(frustum_visibility(occupied.flip(1), grid, inputs), plain.flip(1))
    assert not torch.equal(plain, plain.flip(1))
