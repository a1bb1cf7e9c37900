"""Drives of a nuScenes-format set, real or simulated, as an `ActiveDataset` for planning; a unit is a scene.

Files: the tables of nuScenes in ``v1.0-trainval`` (or another version), ``samples``, the map expansion in
``maps/expansion`` and, if there is one, ``can_bus``.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.data.driving_agents import agents_at
from al_lightning.data.driving_can_bus import read_signals
from al_lightning.data.driving_images import Normalization, no_views, projections, read_images
from al_lightning.data.driving_motion import Rows, can_bus_vectors, ego_motion, ego_status, scene_bounds
from al_lightning.data.driving_past import DrawnPast, drawn_frames
from al_lightning.data.driving_samples import EgoColumns, check_options, driving_annotations, group_rows
from al_lightning.data.driving_tables import CAMERAS, DriveFrames, read_drive_frames
from al_lightning.data.file_lists import missing_files
from al_lightning.data.images import checked_image_size
from al_lightning.data.map_vectors import MapLayers, map_file, map_lines, read_map_layers
from al_lightning.data.nuscenes_tables import CAMERAS as VIEWS
from al_lightning.data.nuscenes_tables import weather_subsets
from al_lightning.data.photometric import PhotometricDistortion
from al_lightning.data.splits import OfficialSplit, SplitStrategy
from al_lightning.driving import AGENT_CLASSES, DrivingAnnotations, DrivingInputs
from al_lightning.types import DataFileError, Sample, stack

logger = logging.getLogger(__name__)

DEFAULT_SPLITS = OfficialSplit()


class NuScenesDriving:
    """Keyframes of drives with six cameras; their scenes are labeled as wholes.

    Boxes and maps are labels. The ego vehicle's own way is not: it was logged, for unlabeled scenes too. Of the
    training split only images and tables have to be there; a unit without a box or without its map counts as not yet
    labeled. The labels of a unit end with its last keyframe: what agents do then is unknown. VAD passes over training
    samples without boxes or lines; here they stay.

    Args:
        root: folder that holds the tables' folder, ``samples`` and ``maps``.
        version: name of the tables' folder.
        split: ``train`` or ``val``. In training, objects count that LiDAR or radar hit, in validation only the LiDAR's.
        splits: what these two are; a split that cuts scenes ends histories carried from frame to frame.
        images: read images; without them there are tensors of 0 cameras, for planners that see nothing.
        maps: read map elements; without them there are none.
        image_size: (H, W) of the network's input, pixels: images fill its width and, from above, its height.
        normalization: see `driving_images.read_images`.
        max_agents: rows of the boxes, filled up with `PADDING`.
        max_lines: rows of the map elements, likewise.
        clip: least keyframes of a unit of the training split, to label pieces of scenes (`group_rows`); the history of
            a planner begins anew with each. None for whole scenes, which are always validated on.
        distortion: random colours of training images, those of the past among them; None for none.
        past: how frames of the past are drawn for training samples; None for those that are asked for.

    Attributes:
        units: names of the scenes, sorted, or of the clips, such as "scene-0103/00".
        unit_of: (rows,) the unit of each keyframe; rows are sorted by scene and time.
        class_names: the ten classes of objects.
        subsets: ``night`` and ``rain``, each (units,) bool.

    Raises:
        ValueError: an argument is not valid, or the split leaves no keyframe.
        DataFileError: the tables or the CAN bus cannot be read, an image is missing, or a label of ``val`` is.
    """

    CLASS_NAMES = AGENT_CLASSES

    def __init__(
        self,
        root: str,
        version: str = "v1.0-trainval",
        split: str = "train",
        splits: SplitStrategy = DEFAULT_SPLITS,
        images: bool = True,
        maps: bool = True,
        image_size: tuple[int, int] = (384, 640),
        normalization: Normalization = "imagenet",
        max_agents: int = 300,
        max_lines: int = 100,
        clip: int | None = None,
        distortion: PhotometricDistortion | None = None,
        past: DrawnPast | None = None,
    ) -> None:
        check_options(split, normalization, max_agents, max_lines)
        self.root, self.version, self.split, self.normalization = Path(root).expanduser(), version, split, normalization
        self.images, self.maps, self.max_agents, self.max_lines = images, maps, max_agents, max_lines
        self.image_size, self.distortion, self.past = checked_image_size(image_size), distortion, past
        self.class_names = AGENT_CLASSES
        frames = read_drive_frames(self.root, version)
        rows = np.flatnonzero(splits(frames.samples)[split])
        self._frames = frames.take(rows)
        samples = self._frames.samples
        self.units, self.unit_of = group_rows(samples.scenes, clip if split == "train" else None)
        if split == "train":
            self._frames = replace(self._frames, boxes=self._frames.boxes.within(self.unit_of))
        self._first = np.unique(self.unit_of, return_index=True)[1]
        self.subsets = weather_subsets([samples.descriptions[row] for row in self._first])
        self._ego = _ego_columns(frames, rows, self.unit_of, self.root)
        self._check_files()
        logger.info("%s: %d keyframes of %d scenes", self.root / version, len(rows), len(set(samples.scenes)))

    def _check_files(self) -> None:
        """That the images are there and, for validation, the labels; maps that are there are read."""
        images = [name for names in self._frames.images for name in names] if self.images else []
        missing = missing_files(self.root, images)
        if missing:
            raise DataFileError(
                f"{len(missing):,} of {len(images):,} images of the {self.split} split are missing; the first: "
                f"{self.root / missing[0]}"
            )
        for location in sorted(set(self._frames.samples.locations)) if self.maps else ():
            if self.split == "val" or map_file(self.root, location).is_file():
                read_map_layers(self.root, location)

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.unit_of)

    def sample(
        self,
        row: int,
        *,
        annotations: bool = True,
        label_mask: bool = False,
        generator: np.random.Generator | None = None,
    ) -> Sample[DrivingInputs, DrivingAnnotations]:
        """Read one keyframe; see `ActiveDataset.sample`. There is no visibility mask.

        With a generator it is a training sample, with random colours and a drawn past, if this data set has them.

        Raises:
            DataFileError: a file is missing or damaged.
            ValueError: a label mask is wanted.
        """
        if label_mask:
            raise ValueError("drives have no visibility mask: label_mask must be false")
        truth = self.annotations(row) if annotations else None
        if generator is None or self.past is None:
            return Sample(row, self._inputs(row, generator), truth)
        *past, inputs = self._drawn(row, self.past, generator)
        return Sample(row, inputs, truth, past=stack(past))

    def _drawn(self, row: int, past: DrawnPast, generator: np.random.Generator) -> list[DrivingInputs]:
        """Frames of the past, the oldest first, and the row itself."""
        poses = self._frames.poses
        return drawn_frames(lambda number: self._inputs(number, generator), row, past, self._ego, poses, generator)

    def _inputs(self, row: int, generator: np.random.Generator | None) -> DrivingInputs:
        return self._ego.inputs(row, *self._views(row, generator))

    def _views(self, row: int, generator: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Images and lidar2img, of no camera without images."""
        if not self.images:
            return no_views(self.image_size)
        frames = self._frames
        files = [self.root / name for name in frames.images[row]]
        images, ratios = read_images(files, self.image_size, self.normalization, self.distortion, generator)
        return images, projections(frames.intrinsics[row], frames.camera2lidar[row], ratios)

    def annotations(self, row: int) -> DrivingAnnotations:
        """Boxes, map elements and the way driven; see `ActiveDataset.annotations`."""
        boxes, lidar2global = self._frames.boxes, self._frames.poses.lidar2global[row]
        own = slice(boxes.begin[row], boxes.end[row])
        hits = boxes.lidar_points[own] + (boxes.radar_points[own] if self.split == "train" else 0)
        agents = agents_at(boxes, row, lidar2global)
        lines = map_lines(self._map(row), lidar2global) if self.maps else []
        return driving_annotations(agents, hits > 0, lines, self._ego.motion, row, self.max_agents, self.max_lines)

    def _map(self, row: int) -> MapLayers:
        return read_map_layers(self.root, self._frames.samples.locations[row])

    def pictures(self, row: int) -> dict[str, Path]:
        """The image of each camera, read or not: front left, front, front right, then the same at the back."""
        images = dict(zip(CAMERAS, self._frames.images[row], strict=True))
        return {name: self.root / images[name] for name in VIEWS}

    def paths(self, unit: int) -> dict[str, str]:
        """First and last image of the front camera, and the files that hold boxes and map, relative to the root."""
        rows = np.flatnonzero(self.unit_of == unit)
        first, last = (self._frames.images[row][0] for row in (rows[0], rows[-1]))
        location = self._frames.samples.locations[rows[0]]
        return {
            "first_image": first,
            "last_image": last,
            "boxes": f"{self.version}/sample_annotation.json",
            "map": map_file(self.root, location).relative_to(self.root).as_posix(),
        }

    def label_problems(self, unit: int) -> list[str]:
        """What is wrong with the labels of a unit: no box in any of its keyframes, a map missing or damaged."""
        own, boxes, problems = self.unit_of == unit, self._frames.boxes, []
        if not (boxes.end[own] > boxes.begin[own]).any():
            table = self.root / self.version / "sample_annotation.json"
            problems.append(f"{table} has no box of the ten classes in {self.units[unit]}")
        try:
            if self.maps:
                self._map(int(self._first[unit]))
        except DataFileError as error:
            problems.append(str(error))
        return problems


def _ego_columns(frames: DriveFrames, rows: Rows, unit_of: Rows, root: Path) -> EgoColumns:
    """The ego vehicle in these rows; what it did before and after comes from the whole scenes."""
    scenes = np.array(frames.samples.scenes)
    whole = np.flatnonzero(np.isin(scenes, scenes[rows]))
    drives = frames.take(whole)
    first, last = scene_bounds(drives.samples.scenes)
    motion = ego_motion(drives.poses.lidar2global, first, last)
    signals = read_signals(root, drives.samples.scenes, drives.timestamps)
    keeps_left = np.char.startswith(np.array(drives.samples.locations), "singapore")
    status = ego_status(drives.poses, motion, signals, keeps_left, first, last)
    kept = np.searchsorted(whole, rows)
    follows = np.append(False, (np.diff(rows) == 1) & (np.diff(unit_of) == 0))
    can_bus = can_bus_vectors(drives.poses.take(kept), signals.rates[kept], follows)
    return EgoColumns(motion.take(kept), status[kept], can_bus, follows, _followers(follows))


def _followers(follows: NDArray[np.bool_]) -> Rows:
    """Rows (N,) that follow each without a break."""
    rows, breaks = np.arange(len(follows)), np.flatnonzero(~follows)
    return np.append(breaks, len(follows))[np.searchsorted(breaks, rows, side="right")] - 1 - rows
