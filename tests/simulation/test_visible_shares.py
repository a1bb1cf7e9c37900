"""Shares of visible pixels against rays cast at each object alone."""

import numpy as np
import pytest

from al_lightning.simulation.sensors.raycast import Geometry
from al_lightning.simulation.sensors.rig import CAMERAS
from al_lightning.simulation.visibility import silhouettes, visible_shares
from al_lightning.simulation.world import Ground, Label, Shape, Solids, SolidsBuilder

SIZE = (90, 160)
EGO = (50.0, 40.0, 0.7)
GROUND = Ground(np.full((10, 10), Label.TERRAIN, np.uint8), np.zeros((10, 10), np.uint8))


def objects(*places):
    """Objects of a box and an ellipsoid each, at (forward, left) of the ego vehicle."""
    builder, (x, y, yaw) = SolidsBuilder(), EGO
    for number, (forward, left) in enumerate(places):
        place = (x + forward * np.cos(yaw) - left * np.sin(yaw), y + forward * np.sin(yaw) + left * np.cos(yaw))
        turn = 0.3 * number
        builder.add(Shape.BOX, (*place, 0.5), (2.0, 0.9, 0.5), Label.CAR, (9, 9, 9), yaw=turn, instance=number)
        builder.add(Shape.ELLIPSOID, (*place, 1.2), (1.0, 0.8, 0.6), Label.CAR, (9, 9, 9), instance=number)
    return builder.build()


def around(solids):
    return Geometry(solids, GROUND, EGO[:2])


def cast(solids, camera):
    origin, rotation = camera.placed(EGO)
    return around(solids).cast(origin, camera.directions(SIZE) @ rotation.T, 400.0).solid.reshape(SIZE)


def shares(solids, count):
    hits = {channel: cast(solids, camera) for channel, camera in CAMERAS.items()}
    return visible_shares(around(solids), EGO, hits, SIZE, count)


@pytest.mark.parametrize("channel", CAMERAS)
def test_silhouettes_are_the_pixels_of_each_object_alone(channel):
    draw = np.random.default_rng(0)
    angle, away = draw.uniform(0, 2 * np.pi, 12), draw.uniform(4, 60, 12)
    solids = objects(*zip(away * np.cos(angle), away * np.sin(angle), strict=True), (2.0, 1.6), (6.0, 3.0))
    alone = [int((cast(solids.take(solids.instance == n), CAMERAS[channel]) >= 0).sum()) for n in range(14)]
    assert silhouettes(around(solids), EGO, CAMERAS[channel], SIZE, 14).tolist() == alone
    assert sum(alone) > 100


def test_an_object_in_the_open_is_seen_whole():
    assert shares(objects((12.0, 0.0), (-9.0, 2.0), (3.0, -8.0)), 3).tolist() == [1, 1, 1]


def test_an_object_behind_a_wall_is_not_seen():
    builder, (x, y, yaw) = SolidsBuilder(), EGO
    center = (x + 8 * np.cos(yaw), y + 8 * np.sin(yaw), 3.0)
    builder.add(Shape.BOX, center, (0.2, 9.0, 3.0), Label.MANMADE, (9, 9, 9), yaw=yaw)
    solids = Solids.concatenate([builder.build(), objects((14.0, 0.0), (-9.0, 2.0))])
    assert shares(solids, 2).tolist() == [0, 1]


def test_an_object_half_behind_another_is_seen_in_part():
    front, behind = shares(objects((10.0, 0.0), (16.0, 1.6)), 2)
    assert front == 1
    assert 0.1 < behind < 0.9


def test_an_object_that_no_camera_looks_at_counts_as_unseen():
    assert shares(objects((500.0, 0.0), (12.0, 0.0)), 2).tolist() == [0, 1]
