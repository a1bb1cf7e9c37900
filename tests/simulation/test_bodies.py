"""Bodies: within their boxes, met by rays from all sides, labeled and repeatable."""

import numpy as np
import pytest

from al_lightning.simulation.bodies import build_body
from al_lightning.simulation.sensors.raycast import GROUND, NOTHING, Geometry
from al_lightning.simulation.world import CATEGORY_LABELS, Ground, Label, Texture

SIZES = {
    "vehicle.car": (1.9, 4.6, 1.7),
    "vehicle.truck": (2.5, 7.5, 3.2),
    "vehicle.bus.rigid": (2.9, 11.0, 3.4),
    "vehicle.bus.bendy": (2.9, 17.0, 3.4),
    "vehicle.trailer": (2.8, 11.0, 3.8),
    "vehicle.construction": (2.7, 6.5, 3.2),
    "vehicle.motorcycle": (0.8, 2.1, 1.5),
    "vehicle.bicycle": (0.6, 1.8, 1.2),
    "vehicle.emergency.ambulance": (2.1, 6.0, 2.7),
    "vehicle.emergency.police": (1.9, 4.8, 1.7),
    "human.pedestrian.adult": (0.7, 0.7, 1.75),
    "human.pedestrian.child": (0.5, 0.5, 1.3),
    "human.pedestrian.construction_worker": (0.7, 0.8, 1.75),
    "human.pedestrian.police_officer": (0.7, 0.7, 1.8),
    "human.pedestrian.stroller": (0.6, 1.0, 1.1),
    "human.pedestrian.wheelchair": (0.7, 1.1, 1.3),
    "human.pedestrian.personal_mobility": (0.6, 1.1, 1.8),
    "animal": (0.3, 0.8, 0.6),
    "movable_object.barrier": (2.5, 0.5, 1.0),
    "movable_object.trafficcone": (0.4, 0.4, 1.0),
    "movable_object.pushable_pullable": (0.6, 0.7, 1.0),
    "movable_object.debris": (0.6, 0.8, 0.4),
    "static_object.bicycle_rack": (1.5, 6.0, 1.2),
}
SEEDS = range(6)
ODD_SIZES = [(0.3, 0.3, 0.3), (3.0, 0.4, 4.0), (0.2, 12.0, 0.8)]


def test_every_category_has_a_size_here():
    assert set(SIZES) == set(CATEGORY_LABELS)


@pytest.mark.parametrize("category", SIZES)
def test_body_keeps_within_its_box_and_reaches_its_top(category):
    for size in (SIZES[category], *ODD_SIZES):
        for seed in SEEDS:
            body = build_body(category, size, seed)
            limit = np.array([size[1] / 2, size[0] / 2])
            assert (body.half > 0).all()
            assert (body.yaw == 0).all()
            assert (np.abs(body.center[:, :2]) + body.half[:, :2] <= limit + 1e-9).all()
            assert (body.center[:, 2] - body.half[:, 2]).min() >= -1e-9
            assert (body.center[:, 2] + body.half[:, 2]).max() <= size[2] + 1e-9
    body = build_body(category, SIZES[category], 0)
    span = (body.center + body.half).max(0) - (body.center - body.half).min(0)
    share = (0.55 if category.startswith("human") else 0.9, 0.9, 0.9)  # who stands does not fill the length of a stride
    assert (span >= np.array(share) * np.array(SIZES[category])[[1, 0, 2]]).all()


@pytest.mark.parametrize("category", SIZES)
def test_rays_through_the_box_meet_the_body(category):
    size = SIZES[category]
    ground = Ground(np.full((2, 2), Label.TERRAIN, np.uint8), np.zeros((2, 2), np.uint8))
    generator = np.random.default_rng(0)
    shares = []
    for side in np.radians([20, 110, 200, 290]):
        body = build_body(category, size, 3).placed(0.0, 0.0, float(side), 0)
        aims = generator.uniform((-0.5, -0.5, 0.1), (0.5, 0.5, 0.95), (200, 3)) * (size[1], size[0], size[2])
        aims = aims @ np.array([[np.cos(side), np.sin(side), 0], [-np.sin(side), np.cos(side), 0], [0, 0, 1]])
        origin = np.array([-15.0, 0.0, 1.8])
        directions = (aims - origin) / np.linalg.norm(aims - origin, axis=1, keepdims=True)
        hits = Geometry(body, ground, (0.0, 0.0)).cast(origin, directions, 30.0)
        assert set(np.unique(hits.solid)) - {GROUND, NOTHING}
        shares.append(float((hits.solid >= 0).mean()))
    assert min(shares) > 0.15
    assert category.startswith(("static", "vehicle.bicycle", "vehicle.construction")) or min(shares) > 0.3


@pytest.mark.parametrize("category", SIZES)
def test_label_and_variety(category):
    bodies = [build_body(category, SIZES[category], seed) for seed in range(8)]
    assert all((body.label == CATEGORY_LABELS[category]).all() for body in bodies)
    assert (
        len({body.color.tobytes() for body in bodies}) > 1
        or category == "vehicle.emergency.ambulance"
        or (category == "movable_object.trafficcone")
    )


def test_same_seed_same_body():
    first, second = (build_body("vehicle.truck", SIZES["vehicle.truck"], 11) for _ in range(2))
    for column in ("shape", "center", "half", "color", "texture", "seed"):
        np.testing.assert_array_equal(getattr(first, column), getattr(second, column))


def test_lamps_of_a_car_are_at_its_ends():
    body = build_body("vehicle.car", SIZES["vehicle.car"], 0)
    front, back = body.texture == Texture.HEADLAMP, body.texture == Texture.TAILLAMP
    assert front.sum() == back.sum() == 2
    assert (body.center + body.half)[front, 0] == pytest.approx(2.3)
    assert (body.center - body.half)[back, 0] == pytest.approx(-2.3)


def test_only_high_two_wheelers_are_ridden():
    low, high = (build_body("vehicle.bicycle", (0.6, 1.8, height), 0) for height in (1.1, 1.7))
    assert not (low.texture == Texture.CLOTH).any()
    assert (high.texture == Texture.CLOTH).any()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="category must be one of"):
        build_body("vehicle.tank", (1, 1, 1), 0)
    with pytest.raises(ValueError, match="size must be positive"):
        build_body("vehicle.car", (1, 0, 1), 0)
