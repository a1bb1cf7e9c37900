"""Splits: against published numbers, brute-force distances and properties."""

import csv
import gzip
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nuscenes.utils.splits import create_splits_scenes

from al_lightning.data import GeographicSplit, OfficialSplit, RandomSceneSplit, RegionSplit
from al_lightning.data.splits import SampleIndex
from al_lightning.types import DataFileError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "splits"
INDEX = REAL / "nuscenes_trainval_34149_sample_index.csv.gz"
TOKENS = REAL / "lilja_near_extrapolation" / "samples" / "nusc_samples_geo.pkl"
real = pytest.mark.skipif(
    not (INDEX.is_file() and TOKENS.is_file()), reason=f"real sample index not found: {INDEX}, {TOKENS}"
)


def make_index(scenes, positions=None, locations=None):
    """A sample for each scene name."""
    N = len(scenes)
    return SampleIndex(
        [f"token{row}" for row in range(N)],
        scenes,
        [""] * N,
        ["singapore-onenorth"] * N if locations is None else locations,
        np.zeros((N, 2)) if positions is None else positions,
    )


def random_index(seed, samples=300, scenes=20):
    """Tracks of samples on two maps that lie in the same coordinates."""
    rng = np.random.default_rng(seed)
    scene = rng.integers(0, scenes, samples)
    positions = rng.uniform(-200, 300, (scenes, 2))[scene] + rng.normal(0, 25, (samples, 2))
    locations = np.array(["boston-seaport", "singapore-onenorth"])[scene % 2]
    return make_index([f"scene-{number:04d}" for number in scene], positions, locations.tolist())


@pytest.fixture(scope="module")
def trainval():
    """Every keyframe of v1.0-trainval as (index, columns of the file)."""
    with gzip.open(INDEX, "rt") as file:
        rows = list(csv.DictReader(file))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    index = make_index(columns["scene"].tolist())
    return SampleIndex(columns["sample_token"].tolist(), *list(vars(index).values())[1:]), columns


# --- against published numbers


@real
def test_the_geographic_split_has_the_papers_numbers(trainval):
    samples, columns = trainval
    parts = GeographicSplit(str(TOKENS))(samples)
    assert {name: int(rows.sum()) for name, rows in parts.items()} == {"train": 23574, "val": 5118}
    assert not (parts["train"] & parts["val"]).any()
    assert int((~parts["train"] & ~parts["val"]).sum()) == 5457
    for name, rows in parts.items():
        np.testing.assert_array_equal(rows, columns["geo_split"] == name)


@real
def test_the_geographic_split_takes_from_both_official_parts(trainval):
    samples, _ = trainval
    geographic, official = GeographicSplit(str(TOKENS))(samples), OfficialSplit()(samples)
    assert all((geographic[a] & official[b]).sum() > 800 for a in geographic for b in official)


@real
def test_the_official_split_has_the_official_numbers(trainval):
    samples, columns = trainval
    parts = OfficialSplit()(samples)
    assert {name: int(rows.sum()) for name, rows in parts.items()} == {"train": 28130, "val": 6019}
    for name, rows in parts.items():
        np.testing.assert_array_equal(rows, columns["orig_split"] == name)


def test_official_names_say_where_a_scene_belongs():
    parts = OfficialSplit()(make_index(["scene-0003", "scene-0001", "scene-0077", "my-scene"]))
    assert parts["train"].tolist() == [False, True, False, False]
    assert parts["val"].tolist() == [True, False, False, False]  # 0077 is one of the test scenes


def test_the_mini_set_is_divided_as_the_devkit_divides_it():
    official = create_splits_scenes()
    mini = [*official["mini_val"], *official["mini_train"]]
    parts = OfficialSplit()(make_index(mini))
    assert parts["val"].tolist() == [True] * 2 + [False] * 8
    assert parts["train"].tolist() == [False] * 2 + [True] * 8
    whole = OfficialSplit()(make_index([*mini, "scene-0001"]))  # among others they belong where they do in the whole
    assert [name for name, val in zip(mini, whole["val"], strict=False) if val and name in official["mini_train"]] == [
        "scene-0553",
        "scene-0796",
    ]


# --- token files


@pytest.fixture
def token_file(tmp_path):
    def write(content):
        path = tmp_path / "tokens.pkl"
        path.write_bytes(pickle.dumps(content))
        return str(path)

    return write


def test_tokens_say_where_a_sample_belongs(token_file):
    split = GeographicSplit(token_file({"token0": "val", "token2": "train", "token3": "test", "elsewhere": "train"}))
    parts = split(make_index(["a"] * 5))
    assert parts["train"].tolist() == [False, False, True, False, False]
    assert parts["val"].tolist() == [True, False, False, False, False]


def test_tokens_of_another_set_are_an_error(token_file):
    path = token_file({"elsewhere": "train", "nowhere": "val"})
    with pytest.raises(ValueError, match=rf"none of the 2 tokens of {path}"):
        GeographicSplit(path)(make_index(["a"] * 5))


def test_a_token_file_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "it ran",))

    path = tmp_path / "tokens.pkl"
    path.write_bytes(pickle.dumps({"token0": Evil()}))
    with pytest.raises(DataFileError, match=r"tokens\.pkl: it holds .* not only plain values"):
        GeographicSplit(str(path))
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["token0"], "sample token -> 'train', 'val' or 'test'; it is a list$"),
        ({1: "train"}, "it holds 1: 'train'$"),
        ({}, "it is empty$"),
        ({"token0": "val", "token1": "training"}, "it holds 'token1': 'training'$"),
        ({"token0": ["train"]}, r"it holds 'token0': \['train'\]$"),
        ({"token0": np.zeros(3)}, r"it holds 'token0': array\(\[0., 0., 0.\]\)$"),
        ({"infos": [{"token": "a" * 100, "sweeps": [0] * 1000}] * 10_000}, r"it holds 'infos': .{1,40}\.\.\.$"),
        ({"token" * 1000: 0}, r"it holds 'token.{1,34}: 0$"),
    ],
)
def test_other_contents_are_refused(token_file, content, message):
    with pytest.raises(DataFileError, match=message):
        GeographicSplit(token_file(content))


@pytest.mark.parametrize("content", [None, b"", b"no pickle", pickle.dumps({"token0": "train"})[:-5]])
def test_token_files_that_cannot_be_read_are_named(tmp_path, content):
    path = tmp_path / "tokens.pkl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"tokens\.pkl"):
        GeographicSplit(str(path))


# --- scenes by lot


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.1, 0.7))
def test_whole_scenes_are_drawn(seed, share):
    samples = random_index(seed)
    parts = RandomSceneSplit(share, seed)(samples)
    np.testing.assert_array_equal(parts["train"], ~parts["val"])
    scenes = {name: {samples.scenes[row] for row in np.flatnonzero(rows)} for name, rows in parts.items()}
    assert not scenes["train"] & scenes["val"]
    assert len(scenes["val"]) == max(1, round(share * len(set(samples.scenes))))


def test_the_lot_is_the_seeds():
    samples = random_index(0)
    draws = [RandomSceneSplit(0.3, seed)(samples)["val"].tobytes() for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3
    chosen = Counter(scene for seed in range(200) for scene in drawn_scenes(samples, seed))
    assert len(chosen) == 20
    assert max(chosen.values()) < 100  # 60 expected for each


def drawn_scenes(samples, seed):
    return {samples.scenes[row] for row in np.flatnonzero(RandomSceneSplit(0.3, seed)(samples)["val"])}


# --- regions


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    share=st.floats(0.05, 0.5),
    tile=st.floats(30, 150),
    margin=st.one_of(st.just(0.0), st.floats(1, 40)),
)
def test_regions_against_all_pairs_of_samples(seed, share, tile, margin):
    samples = random_index(seed)
    parts = RegionSplit(tile, share, seed, margin)(samples)
    train, val = parts["train"], parts["val"]
    same_map = np.equal.outer(samples.locations, samples.locations)
    corner = np.floor(samples.positions / tile)
    same_tile = same_map & (corner[:, None] == corner[None]).all(-1)
    distance = np.linalg.norm(samples.positions[:, None] - samples.positions[None], axis=-1)
    close = same_map & (distance < margin)
    assert not (train & val).any()
    assert not (same_tile & val[:, None] & ~val[None]).any()  # tiles go to val whole
    np.testing.assert_array_equal(train, ~val & ~(close & val[None]).any(1))  # and nothing else is dropped
    last = Counter(map(tuple, np.column_stack([samples.locations, corner])[val].tolist()))
    assert val.sum() >= share * len(samples) > val.sum() - max(last.values())


def test_regions_do_not_depend_on_the_order_of_the_samples():
    samples = random_index(3)
    order = np.random.default_rng(0).permutation(len(samples))
    split = RegionSplit(80, 0.2, seed=5, margin=15)
    plain, shuffled = split(samples), split(samples.take(order))
    for name in plain:
        np.testing.assert_array_equal(plain[name][order], shuffled[name])
    assert not np.array_equal(plain["val"], RegionSplit(80, 0.2, seed=6, margin=15)(samples)["val"])


def test_the_same_place_on_another_map_is_another_place():
    positions = np.zeros((2, 2))
    parts = RegionSplit(10, 0.4, margin=5)(make_index(["a", "b"], positions, ["boston-seaport", "singapore-onenorth"]))
    assert sorted([parts["train"].tolist(), parts["val"].tolist()]) == [[False, True], [True, False]]


# --- nothing left, wrong arguments


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (OfficialSplit(), "OfficialSplit leaves no sample for train and val"),
        (RandomSceneSplit(0.5), "RandomSceneSplit leaves no sample for train"),
        (RegionSplit(10, 0.5), "RegionSplit leaves no sample for train"),
        (RegionSplit(1, 0.5, margin=100), "RegionSplit leaves no sample for train"),
    ],
)
def test_an_empty_part_is_an_error(split, message):
    positions = np.array([[0.0, 0.0], [3.0, 3.0]])
    with pytest.raises(ValueError, match=message):
        split(make_index(["a", "a"], positions))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RandomSceneSplit(0.0), "val_share must lie between"),
        (lambda: RandomSceneSplit(1.5), "val_share must lie between"),
        (lambda: RegionSplit(10, 1.0), "val_share must lie between"),
        (lambda: RegionSplit(0, 0.5), "tile > 0"),
        (lambda: RegionSplit(float("nan"), 0.5), "tile > 0"),
        (lambda: RegionSplit(10, 0.5, margin=-1), "margin >= 0"),
    ],
)
def test_wrong_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
