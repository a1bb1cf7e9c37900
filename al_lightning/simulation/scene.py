"""One scene of a data set: simulated, seen by the sensors, and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.bodies import build_body
from al_lightning.simulation.can_bus import write_can_bus
from al_lightning.simulation.plan import ScenePlan, derive_seed
from al_lightning.simulation.sensors.camera import View, render
from al_lightning.simulation.sensors.lidar import Scan, scan
from al_lightning.simulation.sensors.occupancy import label_voxels, mask_camera, mask_lidar
from al_lightning.simulation.sensors.raycast import Geometry
from al_lightning.simulation.sensors.rig import CAMERAS, EgoPose
from al_lightning.simulation.tables import (
    Sighting,
    annotation_rows,
    file_name,
    sample_token,
    scene_rows,
    sensor_rows,
)
from al_lightning.simulation.traffic import drive as drive_through
from al_lightning.simulation.visibility import visible_shares
from al_lightning.simulation.vocabulary import Rows
from al_lightning.simulation.world import KEYFRAME_STEPS, Drive, Label, Solids, Town

JPEG_QUALITY = 92
ANNOTATED_RANGE = 80.0
"""Objects farther from the ego vehicle are not annotated (metres)."""

STATION_SHIFTS = (-20, -10, 10, 20)
"""Time steps from a keyframe to the poses from which the LiDAR's part of its labels is seen too."""


@dataclass(frozen=True)
class Keyframe:
    """Everything recorded and labeled at one moment.

    Attributes:
        views: channel -> what the camera sees.
        scan: what the LiDAR sees.
        semantics, mask_lidar, mask_camera: (200, 200, 16) uint8, see `sensors.occupancy`.
        sightings: one for each track.
    """

    views: dict[str, View]
    scan: Scan
    semantics: NDArray[np.uint8]
    mask_lidar: NDArray[np.uint8]
    mask_camera: NDArray[np.uint8]
    sightings: tuple[Sighting, ...]


class Scene:
    """A simulated scene, of which any keyframe can be captured.

    Args:
        plan: which scene.
        town: the town of its location.
        keyframes: how many.
        image_size: (H, W) of the images.

    Attributes:
        drive: what happens, up to one step after the last keyframe.
        steps: time step of each keyframe.
    """

    def __init__(self, plan: ScenePlan, town: Town, keyframes: int, image_size: tuple[int, int]) -> None:
        self.plan, self.town, self.image_size = plan, town, image_size
        self.steps = range(0, keyframes * KEYFRAME_STEPS, KEYFRAME_STEPS)
        self.drive: Drive = drive_through(town, self.steps[-1] + 2, plan.seed, plan.event)
        self._bodies = [build_body(track.category, track.size, track.seed) for track in self.drive.tracks]

    @property
    def description(self) -> str:
        """What there is to see, in nuScenes' style; the words Night and Rain say that it is so.

        Raises:
            ValueError: a phrase of the drive holds one of those words.
        """
        phrases = ", ".join(self.drive.phrases)
        if any(word in phrases.lower() for word in ("night", "rain")):
            raise ValueError(f"a drive knows nothing of the weather, yet says '{phrases}'")
        weather = self.plan.weather
        words = [*["Night"] * weather.night, *["Rain"] * weather.rain, phrases[:1].lower() + phrases[1:]]
        text = ", ".join(word for word in words if word)
        return text[:1].upper() + text[1:]

    def ego(self, keyframe: int) -> EgoPose:
        """Pose of the ego vehicle."""
        x, y, yaw = (float(value) for value in self.drive.ego[self.steps[keyframe]])
        return x, y, yaw

    def stations(self, keyframe: int) -> list[EgoPose]:
        """Where the LiDAR looks from shortly before and after a keyframe."""
        steps = [self.steps[keyframe] + shift for shift in STATION_SHIFTS]
        poses = [self.drive.ego[step] for step in steps if 0 <= step < len(self.drive.ego)]
        return [(float(x), float(y), float(yaw)) for x, y, yaw in poses]

    def geometry(self, keyframe: int) -> Geometry:
        """Everything around the ego vehicle."""
        poses = [track.poses[self.steps[keyframe]] for track in self.drive.tracks]
        objects = [
            body.placed(x, y, yaw, number)
            for number, (body, (x, y, yaw)) in enumerate(zip(self._bodies, poses, strict=True))
        ]
        return Geometry(
            Solids.concatenate([self.town.solids, *objects]), self.town.ground, center=self.ego(keyframe)[:2]
        )

    def capture(self, keyframe: int) -> Keyframe:
        """Let all sensors see a keyframe, and label it."""
        ego, geometry, weather = self.ego(keyframe), self.geometry(keyframe), self.plan.weather
        views = {
            channel: render(
                geometry, ego, camera, self.image_size, weather, derive_seed(self.plan.seed, keyframe, number)
            )
            for number, (channel, camera) in enumerate(CAMERAS.items())
        }
        points = scan(geometry, ego, weather, derive_seed(self.plan.seed, keyframe, len(CAMERAS)))
        distances = {channel: view.distance for channel, view in views.items()}
        scanned = mask_lidar(geometry, ego, self.stations(keyframe))
        return Keyframe(
            views=views,
            scan=points,
            semantics=np.where(scanned, label_voxels(geometry, ego), np.uint8(Label.FREE)),
            mask_lidar=scanned.astype(np.uint8),
            mask_camera=(scanned & mask_camera(geometry, ego, self.image_size, distances)).astype(np.uint8),
            sightings=self._sightings(geometry, keyframe, views, points),
        )

    def _sightings(
        self, geometry: Geometry, keyframe: int, views: dict[str, View], points: Scan
    ) -> tuple[Sighting, ...]:
        tracks, ego = self.drive.tracks, self.ego(keyframe)
        owner = geometry.solids.instance[points.solid[points.solid >= 0]]
        returns = np.bincount(owner[owner >= 0], minlength=len(tracks))
        for number, track in enumerate(tracks):
            x, y, _ = track.poses[self.steps[keyframe]]
            if np.hypot(x - ego[0], y - ego[1]) > ANNOTATED_RANGE:
                returns[number] = 0
        hits = {channel: view.solid for channel, view in views.items()}
        shares = visible_shares(geometry, ego, hits, self.image_size, len(tracks))
        return tuple(Sighting(int(n), float(share)) for n, share in zip(returns, shares, strict=True))


def write_scene(root: Path, world: str, scene: Scene) -> Rows:
    """Write the files of a scene.

    Args:
        root: folder of the data set.
        world: name of the data set, part of every token.
        scene: the scene.

    Returns:
        Its rows of the tables.
    """
    plan = scene.plan
    sightings = []
    for keyframe in range(len(scene.steps)):
        captured = scene.capture(keyframe)
        write_keyframe(root, world, plan, keyframe, captured)
        sightings.append(captured.sightings)
    write_can_bus(root / "can_bus", plan.name, scene.drive, plan.timestamp)
    ego = [scene.ego(keyframe) for keyframe in range(len(scene.steps))]
    return {
        **scene_rows(world, plan, scene.description, len(ego)),
        **sensor_rows(world, plan, ego, scene.image_size),
        **annotation_rows(world, plan, scene.drive.tracks, scene.steps, sightings),
    }


def write_keyframe(root: Path, world: str, plan: ScenePlan, keyframe: int, captured: Keyframe) -> None:
    """Write the images, the point cloud and the voxel labels of a keyframe."""
    for channel, view in captured.views.items():
        write_jpeg(root / file_name(plan, channel, keyframe), view.image)
    path = root / file_name(plan, "LIDAR_TOP", keyframe)
    path.parent.mkdir(parents=True, exist_ok=True)
    captured.scan.points.tofile(path)
    folder = root / "gts" / plan.name / sample_token(world, plan, keyframe)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / "labels.npz",
        semantics=captured.semantics,
        mask_lidar=captured.mask_lidar,
        mask_camera=captured.mask_camera,
    )


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB image (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    path.write_bytes(encoded.tobytes())
