"""Info files of our own and their frames: geometry, the boundary to the labels, randomness, broken files."""

import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_boxes import VERSION, prepare
from nuscenes import NuScenes
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.utils.geometry_utils import view_points

from al_lightning.types import DataFileError, collate

pytest.importorskip("mmdet3d", reason="needs the extra mmdet3d: make test-mmdet3d")

from mmdet3d.registry import DATASETS

from al_lightning.data.info_files import read_info_file
from al_lightning.data.pickles import read_pickle
from al_lightning.integrations.mmdet3d import MMDet3DFrames
from al_lightning.integrations.mmdet3d import frames as module
from al_lightning.integrations.mmdet3d.infos import CLASSES
from al_lightning.integrations.mmdet3d.points import points_in_boxes

CONFIG = "mmdet3d::centerpoint/centerpoint_pillar02_second_secfpn_8xb4-cyclic-20e_nus-3d.py"
INFOS = {"train": "nuscenes_infos_train.pkl", "val": "nuscenes_infos_val.pkl"}
NO_SWEEPS = {"1": {"sweeps_num": 0}}
OPTIONS = {
    "train_dataloader": {"dataset": {"dataset": {"pipeline": NO_SWEEPS}}},
    "val_dataloader": {"dataset": {"pipeline": NO_SWEEPS}},
}


def frames(root, split="train", **settings):
    return MMDet3DFrames(CONFIG, str(root), split, **{"infos": INFOS, "options": OPTIONS, **settings})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    prepare(str(folder))
    return folder


@pytest.fixture(scope="module")
def train(root):
    return frames(root)


@pytest.fixture
def copy(root, tmp_path):
    """The set, to be broken."""
    return Path(shutil.copytree(root, tmp_path / "copy"))


def change_infos(folder, change):
    path = folder / INFOS["train"]
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content))


def test_units_and_subsets(train, root):
    tables = NuScenes(VERSION, str(root), verbose=False)
    names = [tables.get("scene", tables.get("sample", unit)["scene_token"])["name"] for unit in train.units]
    assert names == ["scene-0001"] * 3 + ["scene-0002"] * 3
    assert train.class_names[-1] == "nothing"
    assert train.subsets["rain"].tolist() == [False] * 3 + [True] * 3
    assert frames(root, "val").subsets["night"].tolist() == [True] * 2
    assert train.paths(0)["lidar"] == "samples/LIDAR_TOP/scene-0001__LIDAR_TOP__000.pcd.bin"
    assert train.paths(0)["label"] == INFOS["train"]
    assert train.label_problems(0) == []


def test_boxes_are_those_of_the_devkit(train, root):
    """Every box of the ten classes that LiDAR saw, in the LiDAR frame."""
    tables = NuScenes(VERSION, str(root), verbose=False)
    for row, unit in enumerate(train.units):
        expected = [
            (train.class_names.index(category_to_detection_name(box.name)), *box.center, *box.wlh[[1, 0, 2]], box)
            for box in tables.get_sample_data(tables.get("sample", unit)["data"]["LIDAR_TOP"])[1]
            if category_to_detection_name(box.name) and tables.get("sample_annotation", box.token)["num_lidar_pts"]
        ]
        truth = train.sample(row).annotations.samples[0].gt_instances_3d
        centers = truth.bboxes_3d.gravity_center.numpy()
        np.testing.assert_array_equal(truth.labels_3d, [label for label, *_ in expected])
        np.testing.assert_allclose(centers, [values[:3] for _, *values in expected], atol=1e-3)
        np.testing.assert_allclose(truth.bboxes_3d.dims, [values[3:6] for _, *values in expected], atol=1e-4)
        for made, (*_, box) in zip(truth.bboxes_3d.corners.numpy(), expected, strict=True):
            nearest = np.linalg.norm(made[:, None] - box.corners().T, axis=2).min(1)
            assert nearest.max() < 0.1  # mmdet3d's boxes stand upright in a frame that leans a little


def test_cameras_of_the_info_file_see_what_the_devkit_sees(train, root):
    tables = NuScenes(VERSION, str(root), verbose=False)
    content = pickle.loads((root / INFOS["train"]).read_bytes())["data_list"][1]
    for name, image in content["images"].items():
        shot = tables.get("sample", content["token"])["data"][name]
        for box in tables.get_sample_data(shot)[1]:
            in_lidar = next(
                other
                for other in tables.get_sample_data(tables.get("sample", content["token"])["data"]["LIDAR_TOP"])[1]
                if other.token == box.token
            )
            point = (np.array(image["lidar2cam"]) @ np.append(in_lidar.center, 1))[:3]
            np.testing.assert_allclose(point, box.center, atol=1e-5)
            pixels = view_points(point[:, None], np.array(image["cam2img"]), normalize=True)
            expected = view_points(box.center[:, None], tables.get_sample_data(shot)[2], normalize=True)
            np.testing.assert_allclose(pixels, expected, atol=1e-3)


def test_points_inside_the_boxes_were_put_there(train):
    sample = train.sample(0)
    points, truth = sample.inputs.inputs[0]["points"], sample.annotations.samples[0].gt_instances_3d
    counts = points_in_boxes(points[:, :3], truth.bboxes_3d.enlarged_box(0.1).tensor[:, :7]).sum(0)
    assert int(counts.min()) >= 20


def test_the_pool_is_read_without_labels(train):
    sample = train.sample(2, annotations=False)
    assert sample.annotations is None
    assert set(sample.inputs.inputs[0]) == {"points"}
    words = repr(sample.inputs.metainfo)
    assert not any(word in words for word in ("gt_", "instances", "ann_info", "labels"))
    torch.testing.assert_close(sample.inputs.inputs[0]["points"], train.sample(2).inputs.inputs[0]["points"])


def test_objects_of_other_frames_are_not_pasted(train):
    names = {type(step).__name__ for step in train._train.pipeline.transforms}
    assert "GlobalRotScaleTrans" in names
    assert "ObjectSample" not in names


def test_augmentation_follows_its_generator_alone(train):
    state = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    one, same, other = (train.sample(0, generator=np.random.default_rng(seed)) for seed in (1, 1, 2))
    points = [sample.inputs.inputs[0]["points"] for sample in (one, same, other)]
    torch.testing.assert_close(points[0], points[1], rtol=0, atol=0)
    assert points[0].shape != points[2].shape or not torch.equal(points[0], points[2])
    assert random.getstate() == state[0]
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state[2])


def test_batches_keep_frames_of_any_size_apart(train):
    batch = collate([train.sample(0), train.sample(4)])
    assert batch.index.tolist() == [0, 4]
    assert batch.inputs.tokens.shape == (2, 32)
    assert [len(frame["points"]) for frame in batch.inputs.inputs] == [
        len(train.sample(row).inputs.inputs[0]["points"]) for row in (0, 4)
    ]
    assert len(batch.annotations.samples) == 2


def test_layout_of_the_real_info_file(root):
    """What mmdet3d's own file of a real key frame has, ours have in the same form."""
    real = Path("../shared/data/nuscenes_keyframes/scene0061_mmdet3d_demo/n015-2018-07-24-11-22-45+0800.pkl")
    if not real.is_file():
        pytest.skip(f"no {real}")
    contents = [pickle.loads(path.read_bytes()) for path in (real, root / INFOS["train"])]
    theirs, ours = (content["data_list"][0] for content in contents)
    assert contents[0]["metainfo"]["categories"] == dict(zip(CLASSES, range(10), strict=True))
    assert contents[1]["metainfo"].keys() == contents[0]["metainfo"].keys()
    assert ours.keys() - theirs.keys() == {"description"}
    assert theirs.keys() - ours.keys() == {"cam_instances"}
    assert ours["lidar_points"].keys() == theirs["lidar_points"].keys()
    assert ours["images"].keys() == theirs["images"].keys()
    assert ours["images"]["CAM_BACK"].keys() == theirs["images"]["CAM_BACK"].keys()
    assert ours["instances"][0].keys() == theirs["instances"][0].keys()
    for key in ("ego2global", "timestamp", "token"):
        assert np.shape(ours[key]) == np.shape(theirs[key])
        assert type(ours[key]) is type(theirs[key])


def test_the_info_file_is_read_once(root, monkeypatch):
    read = []
    monkeypatch.setattr(module, "read_pickle", lambda *words: read.append(words) or read_pickle(*words))
    for split in ("train", "val"):
        frames(root, split)
        assert len(read) == 1
        read.clear()


def test_labels_of_the_training_are_read_as_its_own_dataset_reads_them(train, root):
    """Through the training pipeline without augmentation, against mmdet3d's dataset from the file to the end."""
    content = module.read_config(CONFIG, OPTIONS)
    node = module.frames_node(content, "train") | {
        "data_root": str(root), "ann_file": str(root / INFOS["train"]), "filter_empty_gt": False
    }  # fmt: skip
    node["pipeline"] = [step for step in node["pipeline"] if step["type"] != "ObjectSample"]
    official = DATASETS.build(node)
    for row in range(len(official)):
        sample = train.sample(row, generator=np.random.default_rng(row))
        with module._seeded(int(np.random.default_rng(row).integers(2**32))):
            expected = official.prepare_data(row)
        torch.testing.assert_close(sample.inputs.inputs[0]["points"], expected["inputs"]["points"], rtol=0, atol=0)
        made, wanted = (packed.gt_instances_3d for packed in (sample.annotations.samples[0], expected["data_samples"]))
        assert len(wanted.labels_3d)
        assert torch.equal(made.labels_3d, wanted.labels_3d)
        assert torch.equal(made.bboxes_3d.tensor, wanted.bboxes_3d.tensor)


def test_sweeps_that_are_loaded_must_be_there(copy):
    sweep = {"lidar_path": "sweeps/LIDAR_TOP/absent.bin", "lidar2sensor": np.eye(4).tolist()}
    for split in INFOS:
        path = copy / INFOS[split]
        content = pickle.loads(path.read_bytes())
        content["data_list"][1]["lidar_sweeps"] = [{"timestamp": 0.0, "lidar_points": sweep}]
        path.write_bytes(pickle.dumps(content))
    frames(copy)  # without sweeps in the pipelines
    only_trained = {"val_dataloader": OPTIONS["val_dataloader"]}
    with pytest.raises(DataFileError, match=r"1 of 7 files are missing; the first: sweeps/LIDAR_TOP/absent\.bin"):
        frames(copy, options=only_trained)
    frames(copy, "val", options=only_trained)
    with pytest.raises(DataFileError, match=r"1 of 3 files are missing; the first: sweeps"):
        frames(copy, "val", options={})


def test_frames_without_tokens_are_named_by_their_numbers(copy):
    """As in the info files of KITTI and Waymo; `export` names them likewise."""

    def rename(content):
        for row, frame in enumerate(content["data_list"]):
            del frame["token"]
            frame["sample_idx"] = 100 - 7 * row

    change_infos(copy, rename)
    units = frames(copy).units
    assert units == ("100", "93", "86", "79", "72", "65")
    assert read_info_file(copy / INFOS["train"], "mmdet3d").tokens == list(units)
    change_infos(copy, lambda content: content["data_list"][1].pop("sample_idx"))
    with pytest.raises(DataFileError, match="a frame with neither token nor sample_idx"):
        frames(copy)


def test_labels_may_come_later(copy):
    change_infos(copy, lambda content: content["data_list"][1].pop("instances"))
    dataset = frames(copy)
    assert dataset.label_problems(0) == []
    assert "no 'instances' of frame" in dataset.label_problems(1)[0]
    assert dataset.sample(1, annotations=False).annotations is None


def test_broken_files(copy):
    with pytest.raises(DataFileError, match="cannot read the info file"):
        frames(copy, infos={"train": "absent.pkl"})
    (copy / "samples/LIDAR_TOP/scene-0002__LIDAR_TOP__001.pcd.bin").unlink()
    with pytest.raises(DataFileError, match=r"1 of 6 files are missing.*scene-0002__LIDAR_TOP__001"):
        frames(copy)
    (copy / INFOS["train"]).write_bytes(pickle.dumps({"data_list": []}))
    with pytest.raises(DataFileError, match="no info file of mmdet3d"):
        frames(copy)
    (copy / INFOS["train"]).write_bytes(pickle.dumps({"data_list": [Path("x")]}))
    with pytest.raises(DataFileError, match="not only plain values"):
        frames(copy)


def test_refuses_what_there_is_not(train):
    with pytest.raises(ValueError, match="no visibility mask"):
        train.sample(0, label_mask=True)
    with pytest.raises(ValueError, match=r"mmdet3d has no config .*; there are: .*centerpoint_pillar02"):
        MMDet3DFrames("mmdet3d::centerpoint/other.py")
    with pytest.raises(ValueError, match="there is no config file"):
        MMDet3DFrames("other.py")
