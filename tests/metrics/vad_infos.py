"""Real keyframes in VAD's info format."""

from pathlib import Path

import numpy as np
import pytest
import torch

from al_lightning.data.pickles import read_pickle
from al_lightning.driving import AGENT_CLASSES, OtherAgents, footprints

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


def agents_of(boxes, displacements, mask, yaw_changes, categories):
    """Footprints (A, 6, 5) of agents in VAD's format, and the steps (A, 6) at which they are road users to be hit.

    TRAP: the categories count the 32 entries of the nuScenes-lidarseg table: 2..8 are pedestrians, 14..23 vehicles.
    """
    agents = OtherAgents(boxes, torch.zeros(len(boxes), dtype=torch.int64), displacements, mask == 1, yaw_changes)
    where, present = footprints(agents)
    index = categories.long()
    users = ((index >= 2) & (index <= 8)) | ((index >= 14) & (index <= 23))
    return where, present & users[:, None]


def in_scope(info):
    """Which agents (A,) pass the filters of the official evaluation. TRAP: they look at the present alone."""
    detected = torch.tensor([name in AGENT_CLASSES for name in info["gt_names"]], dtype=torch.bool)
    x, y = torch.from_numpy(info["gt_boxes"]).float()[:, :2].abs().unbind(-1)
    return detected & (torch.from_numpy(info["num_lidar_pts"]) > 0) & (x < 15) & (y < 30)


def frame(info):
    """truth (6, 2), valid (6,), footprints (A, 6, 5), present (A, 6) of a keyframe."""
    truth = torch.from_numpy(info["gt_ego_fut_trajs"]).cumsum(0)
    where, present = agents_of(
        torch.from_numpy(info["gt_boxes"]).float(),
        torch.from_numpy(info["gt_agent_fut_trajs"]).view(-1, 6, 2),
        torch.from_numpy(info["gt_agent_fut_masks"]),
        torch.from_numpy(info["gt_agent_fut_yaw"]),
        torch.from_numpy(info["gt_agent_lcf_feat"])[:, 8],
    )
    return truth, torch.from_numpy(info["gt_ego_fut_masks"]) == 1, where, present & in_scope(info)[:, None]
