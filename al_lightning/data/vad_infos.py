"""Keyframes of nuScenes from VAD's own info files as an `ActiveDataset` for planning."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.data.driving_agents import Agents, wrapped
from al_lightning.data.driving_images import Normalization, no_views, projections, read_images
from al_lightning.data.driving_motion import (
    FUTURE_STEPS,
    KEYFRAME_SECONDS,
    Array,
    EgoMotion,
    EgoPoses,
    Rows,
    can_bus_vectors,
)
from al_lightning.data.driving_samples import EgoColumns, check_options, clip_ends, driving_annotations, group_rows
from al_lightning.data.driving_tables import CAMERAS
from al_lightning.data.file_lists import missing_files
from al_lightning.data.images import checked_image_size
from al_lightning.data.map_vectors import Line, map_file, map_lines, read_map_layers
from al_lightning.data.nuscenes_tables import CAMERAS as VIEWS
from al_lightning.data.nuscenes_tables import pose_matrices
from al_lightning.data.vad_info_files import Info, check_boxes, read_infos
from al_lightning.driving import AGENT_CLASSES, DrivingAnnotations, DrivingInputs
from al_lightning.types import DataFileError, Sample

logger = logging.getLogger(__name__)


class VADInfos:
    """Keyframes of VAD's info files; what their converter computed is taken as it is.

    A unit without a box counts as not yet labeled. Where units are clips, the labels of one tell nothing of the next:
    what agents do after the last keyframe is unknown; velocities at the ends of a clip amid its scene, which the files
    take from the keyframes on both sides, are those of the agents' next step in the clip, else 0.

    Nothing but the files is needed: without a root there are no images (tensors of 0 cameras) and no map elements.

    Args:
        train: info file to train on.
        val: info file to validate on.
        split: ``train`` or ``val``. In training, objects count that LiDAR or radar hit, in validation only the LiDAR's.
        root: folder of nuScenes that holds ``samples`` and ``maps``; None for none.
        images: read images from the root.
        maps: read the map expansion from the root.
        image_size: (H, W) of the network's input, pixels: images fill its width and, from above, its height.
        normalization: see `driving_images.read_images`.
        max_agents: rows of the boxes, filled up with `PADDING`.
        max_lines: rows of the map elements, likewise.
        clip: least keyframes of a unit of the training split, to label pieces of scenes (`group_rows`); the history of
            a planner begins anew with each. None for whole scenes, which are always validated on.

    Attributes:
        units: scene tokens by time, or clips, such as "fcbccedd61424f1b85dcbf8f897f9754/00".
        unit_of: (rows,) the unit of each keyframe; rows are sorted by scene and time.
        class_names: the ten classes of objects.
        subsets: none; the files do not tell.

    Raises:
        ValueError: an argument is not valid.
        DataFileError: the info file cannot be used, an image or a map is missing, or a box of ``val`` is.
    """

    CLASS_NAMES = AGENT_CLASSES

    def __init__(
        self,
        train: str,
        val: str,
        split: str = "train",
        root: str | None = None,
        images: bool = False,
        maps: bool = False,
        image_size: tuple[int, int] = (384, 640),
        normalization: Normalization = "imagenet",
        max_agents: int = 300,
        max_lines: int = 100,
        clip: int | None = None,
    ) -> None:
        check_options(split, normalization, max_agents, max_lines)
        if (images or maps) and root is None:
            raise ValueError("images and maps need the root of nuScenes")
        self.split, self.images, self.maps, self.normalization = split, images, maps, normalization
        self.max_agents, self.max_lines = max_agents, max_lines
        self.image_size = checked_image_size(image_size)
        self.class_names = AGENT_CLASSES
        self.root = Path(root or "").expanduser()
        self.file = Path(val if split == "val" else train).expanduser()
        self._infos = read_infos(self.file)
        scenes = [info["scene_token"] for info in self._infos]
        self.units, self.unit_of = group_rows(scenes, clip if split == "train" else None)
        self.subsets: dict[str, NDArray[np.bool_]] = {}
        self._poses = _ego_poses(self._infos)
        left, self._cut = clip_ends(scenes, self.unit_of)
        self._ego = _ego_columns(self._infos, self.unit_of, self._poses, left)
        self._check_files()
        logger.info("%s: %d keyframes, %d units", self.file, len(self), len(self.units))

    def _check_files(self) -> None:
        """That the images and maps that are wanted are there and, for validation, the boxes."""
        names = [_image(info, camera) for info in self._infos for camera in CAMERAS] if self.images else []
        missing = missing_files(self.root, names)
        if missing:
            raise DataFileError(
                f"{len(missing):,} of {len(names):,} images of {self.file} are missing; the first: "
                f"{self.root / missing[0]}"
            )
        for location in sorted({info["map_location"] for info in self._infos}) if self.maps else ():
            read_map_layers(self.root, location)
        for info in self._infos if self.split == "val" else ():
            check_boxes(info)

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self._infos)

    def sample(
        self,
        row: int,
        *,
        annotations: bool = True,
        label_mask: bool = False,
        generator: np.random.Generator | None = None,
    ) -> Sample[DrivingInputs, DrivingAnnotations]:
        """Read one keyframe; see `ActiveDataset.sample`. There is no augmentation, and no visibility mask.

        Raises:
            DataFileError: a file is missing or damaged, or the keyframe has no boxes.
            ValueError: a label mask is wanted.
        """
        if label_mask:
            raise ValueError("drives have no visibility mask: label_mask must be false")
        inputs = self._ego.inputs(row, *self._views(row))
        return Sample(row, inputs, self.annotations(row) if annotations else None)

    def _views(self, row: int) -> tuple[Tensor, Tensor]:
        """Images and lidar2img, of no camera without images."""
        if not self.images:
            return no_views(self.image_size)
        info = self._infos[row]
        files = [self.root / _image(info, camera) for camera in CAMERAS]
        images, ratios = read_images(files, self.image_size, self.normalization)
        cameras = [info["cams"][camera] for camera in CAMERAS]
        intrinsics = np.array([camera["cam_intrinsic"] for camera in cameras], dtype=np.float64)
        camera2lidar = np.tile(np.eye(4), (len(CAMERAS), 1, 1))
        camera2lidar[:, :3, :3] = [camera["sensor2lidar_rotation"] for camera in cameras]
        camera2lidar[:, :3, 3] = [camera["sensor2lidar_translation"] for camera in cameras]
        return images, projections(intrinsics, camera2lidar, ratios)

    def annotations(self, row: int) -> DrivingAnnotations:
        """Boxes, map elements and the way driven; see `ActiveDataset.annotations`."""
        info, lines = self._infos[row], self._lines(row)
        agents, hit = info_agents(info, self.split, int(self._ego.left[row]), bool(self._cut[row]))
        return driving_annotations(agents, hit, lines, self._ego.motion, row, self.max_agents, self.max_lines)

    def _lines(self, row: int) -> list[Line]:
        if not self.maps:
            return []
        return map_lines(read_map_layers(self.root, self._infos[row]["map_location"]), self._poses.lidar2global[row])

    def pictures(self, row: int) -> dict[str, Path]:
        """The image of each camera, read or not: front left, front, front right, then the same at the back."""
        return {name: self.root / _image(self._infos[row], name) for name in VIEWS}

    def paths(self, unit: int) -> dict[str, str]:
        """The info file, the first and last keyframe's image of the front camera, and the map."""
        rows = np.flatnonzero(self.unit_of == unit)
        first, last = (self._infos[row] for row in (rows[0], rows[-1]))
        return {
            "boxes": self.file.as_posix(),
            "first_image": _image(first, CAMERAS[0]),
            "last_image": _image(last, CAMERAS[0]),
            "map": map_file(Path(), first["map_location"]).as_posix(),
        }

    def label_problems(self, unit: int) -> list[str]:
        """What is wrong with the boxes of a unit: missing, of different numbers, none in any of its keyframes."""
        infos, problems = [self._infos[row] for row in np.flatnonzero(self.unit_of == unit)], []
        for info in infos:
            try:
                check_boxes(info)
            except DataFileError as error:
                problems.append(str(error))
        if not any(len(info.get("gt_boxes", ())) for info in infos):
            problems.append(f"{self.file} has no box in {self.units[unit]}")
        return problems


def _image(info: Info, camera: str) -> str:
    """An image relative to the root of nuScenes; the files name it below some other root."""
    path = str(info["cams"][camera]["data_path"]).replace("\\", "/")
    return "samples/" + path.rpartition("samples/")[2]


def _column(infos: list[Info], key: str) -> Array:
    return np.array([info[key] for info in infos], dtype=np.float64)


def _ego_poses(infos: list[Info]) -> EgoPoses:
    lidar2ego, ego2global = (
        pose_matrices(_column(infos, f"{name}_rotation"), _column(infos, f"{name}_translation"))
        for name in ("lidar2ego", "ego2global")
    )
    return EgoPoses(lidar2ego, ego2global, _column(infos, "ego2global_rotation"))


def _ego_columns(infos: list[Info], unit_of: Rows, poses: EgoPoses, left: Rows) -> EgoColumns:
    """The ego vehicle as the converter describes it."""
    linked = [info["prev"] == before["token"] for before, info in pairwise(infos)]
    follows = np.append(False, np.array(linked, dtype=bool) & (np.diff(unit_of) == 0))
    motion = EgoMotion(
        _column(infos, "gt_ego_his_trajs").astype(np.float32),
        _column(infos, "gt_ego_fut_trajs").astype(np.float32),
        _column(infos, "gt_ego_fut_masks") == 1,
        _column(infos, "gt_ego_fut_cmd").argmax(axis=1),
    )
    can_bus = can_bus_vectors(poses, _column(infos, "can_bus")[:, 7:16], follows)
    return EgoColumns(motion, _column(infos, "gt_ego_lcf_feat").astype(np.float32), can_bus, follows, left)


def info_agents(info: Info, split: str, left: int, cut: bool) -> tuple[Agents, NDArray[np.bool_]]:
    """Boxes of the ten classes, and (A,) those that count in a split.

    TRAP: velocities may be missing (NaN) and then count as 0.

    Args:
        info: the keyframe.
        split: ``train`` or ``val``.
        left: steps of the futures that may be known.
        cut: the velocities may not be known.

    Raises:
        DataFileError: boxes are missing or of different numbers.
    """
    check_boxes(info)
    count = len(info["gt_boxes"])
    known = (np.asarray(info["gt_agent_fut_masks"]) == 1) & (np.arange(FUTURE_STEPS) < left)
    labels = np.array([AGENT_CLASSES.index(name) if name in AGENT_CLASSES else -1 for name in info["gt_names"]])
    hit = np.asarray(info["valid_flag"]) if split == "train" else np.asarray(info["num_lidar_pts"]) > 0
    futures = np.where(known[..., None], np.reshape(info["gt_agent_fut_trajs"], (count, FUTURE_STEPS, 2)), 0)
    velocity = futures[:, 0] / KEYFRAME_SECONDS if cut else np.nan_to_num(info["gt_velocity"])
    boxes = np.concatenate([info["gt_boxes"], velocity], axis=1)
    turns = wrapped(np.asarray(info["gt_agent_fut_yaw"], dtype=np.float64))
    agents = Agents(
        boxes.astype(np.float32),
        labels.astype(np.int64),
        futures.astype(np.float32),
        known,
        np.where(known, turns, 0).astype(np.float32),
    )
    return agents.take(labels >= 0), hit[labels >= 0]
