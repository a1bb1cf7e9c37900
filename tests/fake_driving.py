"""Made-up frames of a drive for networks and losses."""

import math

import numpy as np
import recipes
import torch

from al_lightning.models.vad import DrivingAnnotations, DrivingInputs, DrivingPrediction

IMAGE = (64, 176)


def rig(image_size=IMAGE):
    """lidar2img (6, 4, 4) of six cameras that look all around."""
    height, width = image_size
    poses, intrinsics = recipes.rig(
        [90, 35, 145, 270, 200, 340], f=width / 2, cx=width / 2, cy=height / 2, z=-0.3, r=1.0
    )
    rows = []
    for pose, matrix in zip(poses, intrinsics, strict=True):
        view = np.eye(4)
        view[:3, :3] = matrix
        rows.append(view @ np.linalg.inv(pose))
    return torch.from_numpy(np.stack(rows)).float()


def driving_inputs(B=1, seed=0, image_size=IMAGE, new_scene=False):
    """Random images; ways, headings and CAN signals differ between the samples."""
    g = torch.Generator().manual_seed(seed)
    can_bus = torch.randn(B, 18, generator=g)
    can_bus[:, 17] *= 5
    return DrivingInputs(
        images=torch.randn(B, 6, 3, *image_size, generator=g),
        lidar2img=rig(image_size).repeat(B, 1, 1, 1),
        can_bus=can_bus,
        new_scene=torch.full((B,), new_scene),
        command=torch.randint(0, 3, (B,), generator=g),
        ego_history=torch.randn(B, 2, 2, generator=g),
        ego_status=torch.randn(B, 9, generator=g),
        ego_future=torch.randn(B, 6, 2, generator=g),
        ego_future_mask=torch.ones(B, 6, dtype=torch.bool),
    )


def random_line(g, closed):
    """20 points of an arc or of a circle, in two or 19 orders, filled up to 19."""
    centre, radius = 20 * torch.rand(2, generator=g) - 10, 1 + 4 * torch.rand(1, generator=g)
    angle = torch.linspace(0, 2 * math.pi if closed else 2.0, 20)
    points = centre + radius * torch.stack((angle.cos(), angle.sin()), dim=-1)
    if closed:
        points[-1] = points[0]
        ring = [torch.cat((points[k:-1], points[: k + 1])) for k in range(19)]
        return torch.stack(ring)
    far = torch.full((17, 20, 2), -10000.0)
    return torch.cat((points[None], points.flip(0)[None], far))


def driving_annotations(B=1, seed=0, agents=(5, 8), lines=(4, 6)):
    """Random truth; ``agents`` and ``lines`` are (real rows, rows)."""
    g = torch.Generator().manual_seed(seed)
    boxes = torch.randn(B, agents[1], 9, generator=g)
    boxes[..., :2] *= 6
    boxes[..., 3:6] = boxes[..., 3:6].exp()
    labels = torch.randint(0, 10, (B, agents[1]), generator=g)
    labels[:, agents[0] :] = -1
    line_labels = torch.randint(0, 3, (B, lines[1]), generator=g)
    line_labels[:, lines[0] :] = -1
    orders = [random_line(g, closed=row % 2 == 0) for row in range(B * lines[1])]
    return DrivingAnnotations(
        boxes=boxes,
        labels=labels,
        futures=torch.randn(B, agents[1], 6, 2, generator=g),
        future_mask=torch.rand(B, agents[1], 6, generator=g) < 0.8,
        lines=torch.stack(orders).view(B, lines[1], 19, 20, 2),
        line_labels=line_labels,
        ego_future=torch.tensor([0.2, 2.0]) + 0.1 * torch.randn(B, 6, 2, generator=g),
        ego_future_mask=torch.ones(B, 6, dtype=torch.bool),
    )


def driving_prediction(B=1, seed=0, layers=2, agents=12, lines=9):
    """A random prediction whose tensors collect gradients."""
    g = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=g).requires_grad_()

    return DrivingPrediction(
        bev=random(B, 4, 8),
        agent_logits=random(layers, B, agents, 10),
        agent_boxes=random(layers, B, agents, 10),
        agent_futures=random(B, agents, 6, 6, 2),
        agent_mode_logits=random(B, agents, 6),
        line_logits=random(layers, B, lines, 3),
        lines=(6 * torch.randn(layers, B, lines, 20, 2, generator=g)).requires_grad_(),
        plan=random(B, 3, 6, 2),
    )
