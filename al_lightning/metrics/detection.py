"""Detection scores of nuScenes, by nuscenes-devkit's own evaluation.

Shape letters: B samples, M boxes of a sample, F frames, N boxes of all frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from al_lightning.detection import PADDING, TOKEN_LENGTH, decode_tokens
from al_lightning.driving import AGENT_CLASSES

SLOW = 0.2
"""Speed below which an object is taken to stand, m/s."""

ATTRIBUTES: Mapping[str, tuple[str, str]] = {
    "car": ("vehicle.moving", "vehicle.parked"),
    "truck": ("vehicle.moving", "vehicle.parked"),
    "construction_vehicle": ("vehicle.moving", "vehicle.parked"),
    "bus": ("vehicle.moving", "vehicle.stopped"),
    "trailer": ("vehicle.moving", "vehicle.parked"),
    "barrier": ("", ""),
    "motorcycle": ("cycle.with_rider", "cycle.without_rider"),
    "bicycle": ("cycle.with_rider", "cycle.without_rider"),
    "pedestrian": ("pedestrian.moving", "pedestrian.standing"),
    "traffic_cone": ("", ""),
}
"""Attributes that stand for a class when it moves and when it stands, as mmdet3d assigns them."""


class NuScenesDetection(Metric):
    """mAP and NDS over the frames seen, the truth read from the tables (configuration ``detection_cvpr_2019``).

    Args:
        root: folder that holds the folder of the tables.
        version: name of the folder of the tables.
        class_names: names of the predicted labels, of the devkit's ten.

    Raises:
        ValueError: a name is not one of the ten.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    frames: list[Tensor]
    boxes: list[Tensor]
    owners: list[Tensor]

    def __init__(self, root: str, version: str, class_names: Sequence[str] = AGENT_CLASSES) -> None:
        super().__init__()
        unknown = sorted(set(class_names) - set(ATTRIBUTES))
        if unknown:
            raise ValueError(f"nuScenes' detection task has no class {', '.join(unknown)}")
        self.root, self.version, self.class_names = root, version, tuple(class_names)
        self.add_state("frames", [], dist_reduce_fx="cat")
        self.add_state("boxes", [], dist_reduce_fx="cat")
        self.add_state("owners", [], dist_reduce_fx="cat")

    def update(self, tokens: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor) -> None:
        """Take in a batch.

        Args:
            tokens: (B, 32) uint8 sample tokens (`encode_tokens`).
            boxes: (B, M, 9) in the LiDAR frame, as in `Detections`.
            labels: (B, M) int64, `PADDING` where there is no box.
            scores: (B, M).

        Raises:
            ValueError: a box or a score is not finite.
        """
        rows = torch.cat((boxes.double(), labels[..., None].double(), scores[..., None].double()), dim=-1)
        real = labels != PADDING
        if not bool(torch.isfinite(rows[real]).all()):
            raise ValueError("a predicted box or its score is not finite")
        self.frames.append(tokens)
        self.boxes.append(rows[real])
        self.owners.append(tokens[:, None].expand(*labels.shape, TOKEN_LENGTH)[real])

    def compute(self) -> dict[str, Tensor]:
        """``NDS``, ``mAP``, the mean errors ``mATE`` (m), ``mASE``, ``mAOE`` (rad), ``mAVE`` (m/s), ``mAAE``.

        And ``AP/<class>``, each averaged over the devkit's four distances.

        Raises:
            DataFileError: the tables cannot be read.
        """
        tables = _tables(str(Path(self.root).expanduser()), self.version)
        tokens = list(dict.fromkeys(decode_tokens(dim_zero_cat(self.frames).cpu())))
        predicted: dict[str, list[dict[str, Any]]] = {token: [] for token in tokens}
        owners = decode_tokens(dim_zero_cat(self.owners).cpu())
        rows = dim_zero_cat(self.boxes).cpu().numpy()
        for token, row in zip(owners, rows, strict=True):
            predicted[token].append(_record(token, self.class_names[int(row[9])], row))
        for token, records in predicted.items():
            to_global = _lidar_to_global(tables, token)
            predicted[token] = [_moved(record, *to_global) for record in _best(records)]
        values = evaluate(tables, predicted)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def evaluate(tables: Any, predicted: Mapping[str, list[dict[str, Any]]]) -> dict[str, float]:
    """The devkit's evaluation of predictions in its submission format.

    Args:
        tables: an open `nuscenes.NuScenes`.
        predicted: sample token -> records of boxes; the frames that count, those without boxes too.
    """
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.common.data_classes import EvalBoxes
    from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes, load_gt_of_sample_tokens
    from nuscenes.eval.detection.data_classes import DetectionBox
    from nuscenes.eval.detection.evaluate import DetectionEval

    class FramesEval(DetectionEval):  # type: ignore[misc]
        """The evaluation, of boxes in memory instead of a file and of frames instead of a split."""

        def __init__(self) -> None:
            self.cfg, self.verbose = config_factory("detection_cvpr_2019"), False
            with redirect_stderr(StringIO()):  # it draws a progress bar
                truth = load_gt_of_sample_tokens(tables, list(predicted), DetectionBox)
            boxes = truth, EvalBoxes.deserialize(dict(predicted), DetectionBox)
            self.gt_boxes, self.pred_boxes = (
                # without any box the devkit cannot tell of what kind they are
                filter_eval_boxes(tables, add_center_dist(tables, part), self.cfg.class_range) if part.all else part
                for part in boxes
            )

    metrics = FramesEval().evaluate()[0]
    errors = metrics.tp_errors
    names = {"mATE": "trans_err", "mASE": "scale_err", "mAOE": "orient_err", "mAVE": "vel_err", "mAAE": "attr_err"}
    return {
        "NDS": metrics.nd_score,
        "mAP": metrics.mean_ap,
        **{name: errors[key] for name, key in names.items()},
        **{f"AP/{name}": value for name, value in metrics.mean_dist_aps.items()},
    }


@lru_cache(maxsize=1)
def _tables(root: str, version: str) -> Any:
    from nuscenes import NuScenes  # takes a second: it imports matplotlib and OpenCV

    return NuScenes(version, root, verbose=False)


def _best(records: list[dict[str, Any]], limit: int = 500) -> list[dict[str, Any]]:
    """As many boxes as the devkit takes of a frame."""
    return sorted(records, key=lambda record: -float(record["detection_score"]))[:limit]


def _record(token: str, name: str, row: NDArray[np.float64]) -> dict[str, Any]:
    """A box (11,) in the LiDAR frame as a record of the submission format, still in that frame."""
    length, width, height = row[3:6].tolist()
    moving, standing = ATTRIBUTES[name]
    return {
        "sample_token": token,
        "translation": row[:3],
        "size": [width, length, height],
        "rotation": row[6],
        "velocity": row[7:9],
        "detection_name": name,
        "detection_score": float(row[10]),
        "attribute_name": moving if np.hypot(row[7], row[8]) > SLOW else standing,
    }


def _lidar_to_global(tables: Any, token: str) -> tuple[Any, NDArray[np.float64]]:
    """Rotation (a quaternion) and translation (3,) of the LiDAR of a frame in the global frame."""
    from pyquaternion import Quaternion

    lidar = tables.get("sample_data", tables.get("sample", token)["data"]["LIDAR_TOP"])
    sensor = tables.get("calibrated_sensor", lidar["calibrated_sensor_token"])
    ego = tables.get("ego_pose", lidar["ego_pose_token"])
    to_global = Quaternion(ego["rotation"])
    translation = to_global.rotate(np.array(sensor["translation"])) + np.array(ego["translation"])
    return to_global * Quaternion(sensor["rotation"]), translation


def _moved(record: dict[str, Any], rotation: Any, translation: NDArray[np.float64]) -> dict[str, Any]:
    """A record of the LiDAR frame in the global frame."""
    from pyquaternion import Quaternion

    velocity = rotation.rotate(np.append(record["velocity"], 0.0))
    return record | {
        "translation": (rotation.rotate(record["translation"]) + translation).tolist(),
        "rotation": (rotation * Quaternion(axis=(0, 0, 1), radians=record["rotation"])).elements.tolist(),
        "velocity": velocity[:2].tolist(),
    }
