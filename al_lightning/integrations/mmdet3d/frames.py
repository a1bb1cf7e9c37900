"""Frames of an mmdet3d info file, through mmdet3d's own pipelines, as an `ActiveDataset`; a unit is a key frame."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from al_lightning.data.file_lists import missing_files
from al_lightning.data.info_files import keyframe_token
from al_lightning.data.nuscenes_tables import weather_subsets
from al_lightning.data.pickles import read_pickle
from al_lightning.detection import encode_tokens
from al_lightning.integrations.mmdet3d.configs import FOREIGN_OBJECTS, class_names, frames_node, read_config
from al_lightning.integrations.mmdet3d.packed import PackedLabels, PackedSensors
from al_lightning.types import DataFileError, Sample

log = logging.getLogger(__name__)

NOTHING = "nothing"
"""The last class of the histograms: a frame in which nothing was detected."""
LABEL_KEYS = ("ann_info", "cam_instances", "eval_ann_info", "instances", "pts_semantic_mask_path")


class MMDet3DFrames:
    """Key frames of an info file, read by the datasets and pipelines of an mmdet3d configuration.

    Training rows go through the training pipeline with its augmentation, without transforms that paste labeled objects
    of other frames (`FOREIGN_OBJECTS`): their database holds labels that have not been acquired. All others go through
    the test pipeline, and of those of the pool the labels are taken away before it.

    Args:
        config: path of the configuration, or ``mmdet3d::<folder>/<file>.py`` for one that comes with mmdet3d.
        root: folder of the data set; None for the configuration's.
        split: ``train`` or ``val``.
        infos: info file of each split, relative to the root or absolute; None for the configuration's.
        options: changes to the configuration, nested (mmdet3d's ``--cfg-options``).

    Attributes:
        units: tokens of the frames (`keyframe_token`), in the order of the file.
        unit_of: (rows,) every row is its own unit.
        class_names: the classes and, last, ``nothing``, as in the summaries.
        subsets: ``night`` and ``rain``, where the file has ``description`` of the scenes; else none.

    Raises:
        MissingLibraryError: mmdet3d is not installed.
        ValueError: the configuration cannot be read.
        DataFileError: the info file or a sensor's file is missing.
    """

    def __init__(
        self,
        config: str,
        root: str | None = None,
        split: Literal["train", "val"] = "train",
        infos: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        content = read_config(config, options)
        node = frames_node(content, split)
        self.root = Path(root or node["data_root"]).expanduser()
        self.infos = self.root / (infos or {}).get(split, node["ann_file"])
        self.class_names = (*class_names(content), NOTHING)
        self._test = _dataset(content, "val", self.root, self.infos)
        _fill(self._test, self.infos)
        # Without frames of its own: it lends its pipeline and its reading of labels.
        self._train: Any = _dataset(content, "train", self.root, self.infos) if split == "train" else None
        self.unit_of: NDArray[np.int64] = np.arange(len(self._test), dtype=np.int64)
        self._list_frames()

    def _list_frames(self) -> None:
        """Names, files and descriptions of all frames; none of the files may be missing."""
        units: list[str] = []
        descriptions: list[Any] = []
        names: list[str] = []
        self._files: list[dict[str, str]] = []
        self._labeled: list[bool] = []
        steps = [step for part in (self._train, self._test) if part is not None for step in part.pipeline.transforms]
        sweeps = any(getattr(step, "sweeps_num", 0) > 0 for step in steps)
        for frame in map(self._test.get_data_info, range(len(self._test))):
            units.append(frame["token"])
            self._files.append(_files(frame, self._test.modality, self.root))
            self._labeled.append(frame["labeled"])
            descriptions.append(frame.get("description"))
            names += self._files[-1].values()
            names += _sweeps(frame, self.root) if sweeps else ()
        if missing := missing_files(self.root, names):
            raise DataFileError(f"{len(missing):,} of {len(names):,} files are missing; the first: {missing[0]}")
        self.units = tuple(units)
        self.subsets: dict[str, NDArray[np.bool_]] = {}
        if None not in descriptions:
            self.subsets = weather_subsets(descriptions)

    def __len__(self) -> int:
        """Number of key frames."""
        return len(self.units)

    def sample(
        self,
        row: int,
        *,
        annotations: bool = True,
        label_mask: bool = False,
        generator: np.random.Generator | None = None,
    ) -> Sample[PackedSensors, PackedLabels]:
        """Read one key frame; see `ActiveDataset.sample`.

        Raises:
            ValueError: a visibility mask is asked for, which boxes do not have.
        """
        if label_mask:
            raise ValueError("frames with boxes have no visibility mask: choose a summarizer that needs none")
        training = annotations and generator is not None and self._train is not None
        dataset: Any = self._train if training else self._test
        info = self._test.get_data_info(row)
        info |= {"box_type_3d": dataset.box_type_3d, "box_mode_3d": dataset.box_mode_3d}
        labels: Any = dataset.parse_ann_info(info) if annotations else None
        if training:
            info["ann_info"] = labels
        else:
            info = {key: value for key, value in info.items() if key not in LABEL_KEYS}
        with _seeded(row if generator is None else int(generator.integers(2**32))):
            packed = dataset.pipeline(info)
        if not isinstance(packed, dict):
            raise ValueError("the test pipeline makes several views of a frame; take its flips and scales away")
        sensors = PackedSensors(encode_tokens([self.units[row]]), [packed["inputs"]], [packed["data_samples"].metainfo])
        if not annotations:
            return Sample(row, sensors)
        if not training:
            known = torch.from_numpy(labels["gt_labels_3d"] >= 0)  # the others are of classes that do not count
            packed["data_samples"].gt_instances_3d.bboxes_3d = labels["gt_bboxes_3d"][known]
            packed["data_samples"].gt_instances_3d.labels_3d = torch.from_numpy(labels["gt_labels_3d"])[known]
        return Sample(row, sensors, PackedLabels([packed["data_samples"]]))

    def annotations(self, row: int) -> PackedLabels | None:
        """Labels of a key frame; mmdet3d's pipelines pack them with the sensors, which are read, too."""
        return self.sample(row).annotations

    def paths(self, unit: int) -> dict[str, str]:
        """The files of the sensors and, as ``label``, the info file."""
        name = self.infos.relative_to(self.root) if self.infos.is_relative_to(self.root) else self.infos.absolute()
        return self._files[unit] | {"label": name.as_posix()}

    def label_problems(self, unit: int) -> list[str]:
        """The frame has no ``instances`` in the info file."""
        return [] if self._labeled[unit] else [f"{self.infos} has no 'instances' of frame {self.units[unit]}"]


def _dataset(config: Any, part: str, root: Path, infos: Path) -> Any:
    """The dataset of a part of the configuration, with its pipeline, for an info file that is not read yet."""
    from mmdet3d.registry import DATASETS

    node = frames_node(config, part)
    foreign = [step["type"] for step in node["pipeline"] if step["type"] in FOREIGN_OBJECTS]
    if foreign:
        log.info("left out of the training pipeline: %s (labels not acquired yet)", ", ".join(foreign))
    node |= {
        "pipeline": [step for step in node["pipeline"] if step["type"] not in foreign],
        "data_root": str(root),
        "ann_file": str(infos),
        "test_mode": part == "val",
        "load_eval_anns": False,
        "lazy_init": True,
    }
    return DATASETS.build(node)


def _fill(dataset: Any, infos: Path) -> None:
    """Give a dataset its frames; its own reader would run whatever code the pickle holds."""
    dataset.load_data_list = lambda: [dataset.parse_data_info(frame) for frame in _read_infos(infos)]
    dataset.full_init()
    del dataset.load_data_list  # reader processes may have to be sent the dataset


def _read_infos(path: Path) -> list[dict[str, Any]]:
    """The frames of an info file; ``token`` is its name, ``labeled`` says whether it has labels."""
    content = read_pickle(path, "info file")
    if not isinstance(content, dict) or not isinstance(content.get("data_list"), list) or not content["data_list"]:
        raise DataFileError(f"{path} is no info file of mmdet3d 1.x with frames in its 'data_list'")
    frames = content["data_list"]
    if not all(isinstance(frame, dict) and {"token", "sample_idx"} & frame.keys() for frame in frames):
        raise DataFileError(f"{path} has a frame with neither token nor sample_idx")
    # mmdet3d's own dataset replaces sample_idx by the number of the row.
    return [
        {"instances": [], **frame, "token": keyframe_token(frame), "labeled": "instances" in frame} for frame in frames
    ]


def _files(frame: Mapping[str, Any], modality: Mapping[str, bool], root: Path) -> dict[str, str]:
    """The files of the sensors that are used, relative to the root."""
    files = {"lidar": frame["lidar_path"]} if modality["use_lidar"] else {}
    if modality["use_camera"]:
        files |= {name: image["img_path"] for name, image in frame["images"].items()}
    return {name: Path(path).relative_to(root).as_posix() for name, path in files.items()}


def _sweeps(frame: Mapping[str, Any], root: Path) -> list[str]:
    """The files of the LiDAR sweeps between the key frames, relative to the root."""
    paths = [sweep["lidar_points"]["lidar_path"] for sweep in frame.get("lidar_sweeps", ())]
    return [Path(path).relative_to(root).as_posix() for path in paths]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global random streams that mmdet3d's transforms draw from, seeded here and put back after."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
