"""VAD's info files: pickled lists of keyframes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from al_lightning.data.pickles import read_pickle
from al_lightning.types import DataFileError

Info = dict[str, Any]

SHAPES: dict[str, tuple[int, ...]] = {
    "can_bus": (18,),
    "lidar2ego_translation": (3,),
    "lidar2ego_rotation": (4,),
    "ego2global_translation": (3,),
    "ego2global_rotation": (4,),
    "gt_ego_his_trajs": (2, 2),
    "gt_ego_fut_trajs": (6, 2),
    "gt_ego_fut_masks": (6,),
    "gt_ego_fut_cmd": (3,),
    "gt_ego_lcf_feat": (9,),
}
"""What is the vehicle's own: arrays of every keyframe, all finite."""
BOX_SHAPES: dict[str, tuple[int, ...]] = {
    "gt_boxes": (7,),
    "gt_names": (),
    "gt_velocity": (2,),
    "num_lidar_pts": (),
    "valid_flag": (),
    "gt_agent_fut_trajs": (12,),
    "gt_agent_fut_masks": (6,),
    "gt_agent_fut_yaw": (6,),
}
"""What is annotated: arrays with a row for each box."""
PLAIN = ("token", "scene_token", "prev", "timestamp", "map_location", "cams")


def read_infos(path: Path) -> list[Info]:
    """Keyframes by scene and time, scenes by their first keyframe; of each only what is used.

    Raises:
        DataFileError: the file is missing, damaged or no info file of VAD.
    """
    content = read_pickle(path, "keyframes")
    if not isinstance(content, dict) or not isinstance(content.get("infos"), list) or not content["infos"]:
        raise DataFileError(f"{path} must hold a dictionary with a list of keyframes under 'infos'")
    infos = [_checked(info, f"keyframe {number} of {path}") for number, info in enumerate(content["infos"])]
    begins: dict[str, int] = {}
    for info in infos:
        begins[info["scene_token"]] = min(info["timestamp"], begins.get(info["scene_token"], info["timestamp"]))
    return sorted(infos, key=lambda info: (begins[info["scene_token"]], info["scene_token"], info["timestamp"]))


def _checked(info: Any, where: str) -> Info:
    """What is used of a keyframe, if its own values are there."""
    wanted = (*PLAIN, *SHAPES)
    missing = [key for key in wanted if key not in info] if isinstance(info, dict) else wanted
    if missing:
        raise DataFileError(f"{where} lacks {', '.join(missing[:5])}")
    kept = {key: info[key] for key in (*wanted, *BOX_SHAPES) if key in info}
    for key, shape in SHAPES.items():
        kept[key] = _array(kept[key], key, where)
        if kept[key].shape != shape or not np.isfinite(kept[key]).all():
            raise DataFileError(f"{key} of {where} must be {shape} finite numbers")
    return kept


def check_boxes(info: Info) -> None:
    """Refuse a keyframe whose boxes are missing or of different numbers.

    Raises:
        DataFileError: they are.
    """
    where = f"keyframe {info['token']}"
    missing = [key for key in BOX_SHAPES if key not in info]
    if missing:
        raise DataFileError(f"{where} lacks {', '.join(missing)}")
    for key, shape in BOX_SHAPES.items():
        found = np.shape(info[key])
        if found != (len(info["gt_boxes"]), *shape):
            raise DataFileError(f"{key} of {where} must be {shape} for each of {len(info['gt_boxes'])} boxes: {found}")


def _array(values: Any, key: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataFileError(f"{key} of {where} must be numbers: {error}") from error
