"""The drives of a simulated world: everything is there, and lies where the cameras and the map say."""

import numpy as np
import pytest
import torch
import vad_converter
from nuscenes import NuScenes
from nuscenes.can_bus.can_bus_api import NuScenesCanBus

from al_lightning.data import NuScenesDriving
from al_lightning.driving import BOUNDARY, DIVIDER, PADDING
from al_lightning.simulation.vocabulary import VERSION

SIZE = (96, 160)


@pytest.fixture(scope="module", params=["train", "val"])
def subject(request, tiny_world):
    return NuScenesDriving(str(tiny_world), VERSION, request.param, image_size=SIZE)


def test_nothing_is_missing(subject, caplog):
    assert len(subject.units) == {"train": 3, "val": 1}[subject.split]
    assert np.bincount(subject.unit_of).tolist() == [3] * len(subject.units)
    assert all(subject.label_problems(unit) == [] for unit in range(len(subject.units)))
    assert "CAN bus" not in caplog.text


def test_samples_are_as_in_vads_converter(subject, tiny_world):
    nusc, reader = NuScenes(VERSION, str(tiny_world), verbose=False), NuScenesCanBus(str(tiny_world))
    first = {scene["name"]: nusc.get("sample", scene["first_sample_token"]) for scene in nusc.scene}
    row = 0
    for name in subject.units:
        previous = None
        for sample in (first[name], *vad_converter.neighbours(nusc, first[name], "next", 2)):
            found = subject.sample(row)
            future, mask, command = vad_converter.future(nusc, sample)
            np.testing.assert_allclose(found.inputs.ego_future, future, atol=1e-5)
            np.testing.assert_array_equal(found.inputs.ego_future_mask, mask)
            assert found.inputs.command == command
            bus = vad_converter.can_bus(nusc, reader, sample, previous)
            np.testing.assert_allclose(found.inputs.can_bus, bus, rtol=1e-5, atol=1e-4)
            boxes = vad_converter.agents(nusc, sample, lambda record: record["num_lidar_pts"] > 0)
            count = len(boxes)
            assert (found.annotations.labels != PADDING).sum() == count
            np.testing.assert_allclose(found.annotations.boxes[:count], [box[0] for box in boxes], atol=1e-4)
            np.testing.assert_allclose(found.annotations.futures[:count], [box[2] for box in boxes], atol=1e-4)
            previous, row = sample, row + 1


def test_the_vehicle_speaks_of_one_speed(subject):
    """Logged way, velocity on the CAN bus and status agree within the change of half a second."""
    for row in range(len(subject)):
        inputs = subject.sample(row, annotations=False).inputs
        paces = [inputs.can_bus[13], inputs.ego_status[7], 2 * inputs.ego_history[-1].norm()]
        assert max(paces) - min(paces) < 2.5


def test_the_vehicle_drives_on_a_road(subject):
    """There are lines of the road near it, none closer than half a lane would allow, and it does not cross a kerb."""
    for row in range(len(subject)):
        truth = subject.sample(row).annotations
        for label, most in ((DIVIDER, 30), (BOUNDARY, 15)):
            lines = truth.lines[truth.line_labels == label, 0]
            assert len(lines) > 0
            assert lines.norm(dim=-1).min() < most
        kerb = truth.lines[truth.line_labels == BOUNDARY, 0].norm(dim=-1).min()
        assert kerb > 0.5


def test_cameras_see_the_boxes_that_are_in_front_of_them(subject):
    """A box in front of the vehicle falls into the front camera's image, one behind into the back camera's."""
    seen = 0
    for row in range(len(subject)):
        sample = subject.sample(row)
        real = sample.annotations.labels != PADDING
        for x, y, z in sample.annotations.boxes[real, :3].tolist():
            if abs(y) < 8 or abs(x) > 0.3 * abs(y):
                continue
            camera = 0 if y > 0 else 3
            u, v, depth, _ = sample.inputs.lidar2img[camera] @ torch.tensor([x, y, z, 1.0])
            assert depth > 5
            assert 0 < u / depth < SIZE[1]
            assert 0 < v / depth < SIZE[0]
            seen += 1
    assert seen > 0
