"""What training samples are shown of the past, against VAD's own queue."""

import itertools

import numpy as np
import pytest
import torch
from fake_drives import VERSION, write_drives

from al_lightning.data import DrawnPast, NuScenesDriving, PhotometricDistortion
from al_lightning.data.module import LabeledRows, SensorRows

LAST = 7  # of the first scene; row 8 is a scene of its own


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("drives")
    write_drives(root)
    return root


def dataset(root, **arguments):
    return NuScenesDriving(str(root), VERSION, **{"image_size": (36, 64), "maps": False, **arguments})


class Chosen:
    """A generator whose choice is known."""

    def __init__(self, chosen):
        self.chosen = chosen

    def choice(self, window, frames, replace):
        assert (window, frames, replace) == (3, len(self.chosen), False)
        return np.array(self.chosen)


def official_queue(index, dropped, scenes):
    """Indices of VAD's queue, the oldest first (`prepare_train_data`), of rows that are all of the same scenes."""
    kept = sorted((i for i in range(index - 3, index) if i != dropped), reverse=True)
    queue, shown, newest = [index], index, index
    for i in kept:
        i = max(0, i)
        if i < newest and scenes[i] == scenes[index]:
            shown = newest = i
        queue.insert(0, shown)
    return queue


@pytest.mark.parametrize(("row", "dropped"), itertools.product(range(3, 9), (1, 2, 3)))
def test_rows_are_those_of_vad(row, dropped):
    scenes = [0, 0, 0, 1, 1, 1, 1, 1, 2]
    chosen = [back - 1 for back in (3, 2, 1) if back != dropped]
    rows = DrawnPast(2, 3).draw(row, scenes.index(scenes[row]), Chosen(chosen))
    assert [*rows, row] == official_queue(row, row - dropped, scenes)


def test_each_of_the_three_is_left_out_as_often():
    generator = np.random.default_rng(0)
    drawn = [tuple(DrawnPast().draw(10, 0, generator)) for _ in range(3000)]
    for rows in ((7, 8), (7, 9), (8, 9)):
        assert abs(drawn.count(rows) - 1000) < 110
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(("frames", "window"), [(0, 3), (4, 3), (-1, 1)])
def test_numbers_that_leave_nothing_to_draw_are_refused(frames, window):
    with pytest.raises(ValueError, match=r"DrawnPast\.frames"):
        DrawnPast(frames, window)


def official_vectors(subject, rows):
    """What VAD's `union2one` makes of absolute positions and headings."""
    poses, vectors = subject._frames.poses, []
    angles = np.degrees(np.arctan2(poses.ego2global[:, 1, 0], poses.ego2global[:, 0, 0])) % 360
    for position, row in enumerate(rows):
        vector = subject.sample(row, annotations=False).inputs.can_bus.numpy().astype(np.float64)
        before = rows[position - 1] if position else row
        vector[:3] = poses.ego2global[row, :3, 3] - poses.ego2global[before, :3, 3]
        vector[17] = angles[row] - angles[before]
        vectors.append(vector)
    return np.array(vectors)


@pytest.mark.parametrize("row", [0, 1, 2, 5, LAST, LAST + 1])
@pytest.mark.parametrize("seed", range(4))
def test_the_way_is_that_since_the_frame_that_is_shown_before(root, row, seed):
    subject = dataset(root, past=DrawnPast())
    sample = subject.sample(row, generator=np.random.default_rng(seed))
    first = 0 if row <= LAST else LAST + 1
    rows = [*DrawnPast().draw(row, first, np.random.default_rng(seed)), row]
    inputs = [subject.sample(number, annotations=False).inputs for number in rows]
    assert torch.equal(sample.past.images, torch.stack([frame.images for frame in inputs[:-1]]))
    assert torch.equal(sample.past.lidar2img, torch.stack([frame.lidar2img for frame in inputs[:-1]]))
    assert torch.equal(sample.inputs.images, inputs[-1].images)
    assert torch.equal(sample.annotations.boxes, subject.sample(row).annotations.boxes)
    vectors = torch.cat((sample.past.can_bus, sample.inputs.can_bus[None]))
    np.testing.assert_allclose(vectors, official_vectors(subject, rows), atol=1e-4, rtol=1e-6)
    assert sample.past.new_scene.tolist() == [True, False]
    assert not sample.inputs.new_scene


def test_a_clip_has_no_past_before_it(root):
    subject = dataset(root, past=DrawnPast(3, 3), clip=4)
    rows = [subject.sample(row, generator=np.random.default_rng(0)).past.images for row in (4, 5)]
    images = [subject.sample(row, annotations=False).inputs.images for row in range(6)]
    assert torch.equal(rows[0], torch.stack([images[4]] * 3))
    assert torch.equal(rows[1], torch.stack([images[4]] * 3))


AUGMENTED = {"past": DrawnPast(), "distortion": PhotometricDistortion()}


def test_only_training_samples_are_augmented(root):
    plain, augmented = dataset(root), dataset(root, **AUGMENTED)
    for reader in (lambda d: SensorRows(d)[5], lambda d: LabeledRows(d, np.array([5]))[0]):
        a, b = reader(plain), reader(augmented)
        torch.testing.assert_close(vars(a.inputs), vars(b.inputs), rtol=0, atol=0)
        assert a.past is b.past is None
    trained = LabeledRows(augmented, np.array([5]), seed=(0, 1, 2))[0]
    assert trained.past.images.shape == (2, 6, 3, 36, 64)
    assert not torch.equal(trained.inputs.images, plain.sample(5).inputs.images)


def test_a_training_sample_follows_from_seed_and_position_alone(root):
    def images(seed, position):
        rows = LabeledRows(dataset(root, **AUGMENTED), np.array([5, 5]), seed, past_frames=2)
        sample = rows[position]
        return torch.cat((sample.past.images, sample.inputs.images[None]))

    assert torch.equal(images((0, 1, 2), 1), images((0, 1, 2), 1))
    assert not torch.equal(images((0, 1, 2), 1), images((0, 1, 2), 0))
    assert not torch.equal(images((0, 1, 2), 1), images((0, 1, 3), 1))


def test_cameras_and_frames_have_colours_of_their_own_and_rows_below_stay_empty(root):
    extreme = PhotometricDistortion(brightness=200.0)
    inputs = dataset(root, image_size=(48, 64), distortion=extreme).sample(5, generator=np.random.default_rng(0)).inputs
    plain = dataset(root, image_size=(48, 64)).sample(5).inputs.images
    assert inputs.images.shape == plain.shape
    assert (inputs.images[:, :, 36:] == 0).all()
    shift = (inputs.images - plain)[:, :, :36].flatten(1).mean(1)
    assert len({round(float(value), 3) for value in shift}) > 3


def test_a_drawn_past_goes_before_one_that_is_asked_for(root):
    drawn = LabeledRows(dataset(root, past=DrawnPast()), np.array([1]), (0,), past_frames=2)[0]
    asked = LabeledRows(dataset(root), np.array([1]), (0,), past_frames=2)[0]
    assert (drawn.past.new_scene.tolist(), asked.past.new_scene.tolist()) == ([True, False], [True, True])


def test_without_random_colours_the_past_that_is_asked_for_stays_as_it_was(root):
    sample = LabeledRows(dataset(root), np.array([5]), seed=(0,), past_frames=2)[0]
    expected = [dataset(root).sample(row, annotations=False).inputs for row in (3, 4)]
    assert torch.equal(sample.past.can_bus, torch.stack([inputs.can_bus for inputs in expected]))
