"""Real keyframes in VAD's info format."""

from pathlib import Path

import numpy as np
import pytest
import torch

from al_lightning.data.pickles import read_pickle
from al_lightning.metrics.functional import agent_footprints, in_planning_scope, road_users_by_index

PLANNING = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "planning"
SCENES = ("scene-0103", "scene-0916")


def read_infos(scene):
    """Keyframes of a scene; the test is skipped where the data are absent."""
    path = PLANNING / f"vad_infos_{scene}.pkl"
    if not path.is_file():
        pytest.skip(f"needs the real keyframes {path}")
    return read_pickle(path, "keyframes")["infos"]


def read_plans(tokens):
    """Positions (N, 6, 2) that a published planner planned at these keyframes."""
    path = PLANNING / "planner_predictions_val.npz"
    if not path.is_file():
        pytest.skip(f"needs the planner's output {path}")
    with np.load(path) as file:
        row = {token: i for i, token in enumerate(file["token"])}
        return torch.from_numpy(file["trajectory"][[row[token] for token in tokens]])


def frame(info):
    """truth (6, 2), valid (6,), footprints (A, 6, 5), present (A, 6) of a keyframe."""
    truth = torch.from_numpy(info["gt_ego_fut_trajs"]).cumsum(0)
    boxes = torch.from_numpy(info["gt_boxes"]).float()
    displacements = torch.from_numpy(info["gt_agent_fut_trajs"]).view(-1, 6, 2)
    footprints = agent_footprints(boxes, displacements, torch.from_numpy(info["gt_agent_fut_yaw"]))
    counts = road_users_by_index(torch.from_numpy(info["gt_agent_lcf_feat"])[:, 8])
    counts &= in_planning_scope(info["gt_names"], torch.from_numpy(info["num_lidar_pts"]), boxes[:, :2])
    present = (torch.from_numpy(info["gt_agent_fut_masks"]) == 1) & counts[:, None]
    return truth, torch.from_numpy(info["gt_ego_fut_masks"]) == 1, footprints, present
