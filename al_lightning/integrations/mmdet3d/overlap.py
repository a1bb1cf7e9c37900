"""Overlap of rectangles and non-maximum suppression in plain torch, as mmcv's compiled operators have them.

Shape letters: N boxes, R pairs of boxes, K boxes that are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

PAIRS_AT_ONCE = 1 << 17
"""Pairs of boxes whose corners are held in memory together (some 200 MB)."""


def rotated_intersections(first: Tensor, second: Tensor) -> Tensor:
    """Areas (R,) float64 that pairs of rectangles share.

    Args:
        first: (R, 5) centre x, y, size along the rectangle's own axes, angle counter-clockwise.
        second: (R, 5) likewise.
    """
    parts = zip(*(torch.split(boxes.double(), PAIRS_AT_ONCE) for boxes in (first, second)), strict=True)
    return torch.cat([_intersections(one, other) for one, other in parts])


def _intersections(first: Tensor, second: Tensor) -> Tensor:
    """The shared polygon's corners are those of each inside the other and the crossings of their sides."""
    second = second.clone()
    second[:, :2] -= first[:, :2]  # close to the origin, far from cancellation
    first = torch.cat((torch.zeros_like(first[:, :2]), first[:, 2:]), dim=1)
    one, other = _corners(first), _corners(second)
    crossings, crossed = _crossings(one, other)
    corners = torch.cat((one, other, crossings), dim=1)
    valid = torch.cat((_inside(one, second), _inside(other, first), crossed), dim=1)
    center = (corners * valid[..., None]).sum(1) / valid.sum(1).clamp(min=1)[:, None]
    offset = torch.where(valid[..., None], corners - center[:, None], 0.0)
    angle = torch.atan2(offset[..., 1], offset[..., 0]).masked_fill(~valid, torch.inf)
    order = angle.argsort(dim=1)
    ring = offset.gather(1, order[..., None].expand_as(offset))
    start = ring[:, :1].expand_as(ring)
    ring = torch.where(valid.gather(1, order)[..., None], ring, start)  # what is no corner repeats the first one
    following = ring.roll(-1, dims=1)
    return (ring[..., 0] * following[..., 1] - ring[..., 1] * following[..., 0]).sum(1).abs() / 2


def _corners(boxes: Tensor) -> Tensor:
    """Corners (R, 4, 2) in turn."""
    signs = boxes.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
    local = signs * boxes[:, None, 2:4]
    cos, sin = boxes[:, 4:].cos(), boxes[:, 4:].sin()
    x = local[..., 0] * cos - local[..., 1] * sin
    y = local[..., 0] * sin + local[..., 1] * cos
    return torch.stack((x, y), dim=-1) + boxes[:, None, :2]


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points (R, 4, 2) lie in their rectangle or on its border, up to rounding: (R, 4) bool."""
    offset = points - boxes[:, None, :2]
    cos, sin = boxes[:, 4:].cos(), boxes[:, 4:].sin()
    along = (offset[..., 0] * cos + offset[..., 1] * sin).abs()
    across = (offset[..., 1] * cos - offset[..., 0] * sin).abs()
    slack = 1e-9 * boxes[:, 2:4].sum(dim=1, keepdim=True)
    return (along <= boxes[:, 2:3] / 2 + slack) & (across <= boxes[:, 3:4] / 2 + slack)


def _crossings(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Where the sides of two rectangles (R, 4, 2) cross: points (R, 16, 2), and whether they do (R, 16) bool."""
    a, u = one[:, :, None], (one.roll(-1, dims=1) - one)[:, :, None]
    b, v = other[:, None], (other.roll(-1, dims=1) - other)[:, None]
    determinant = _cross(u, v)
    apart = determinant.abs() > 1e-12 * (u.norm(dim=-1) * v.norm(dim=-1))  # parallel sides cross nowhere
    safe = torch.where(apart, determinant, 1.0)
    s, t = _cross(b - a, v) / safe, _cross(b - a, u) / safe
    crossed = apart & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    return (a + s[..., None] * u).flatten(1, 2), crossed.flatten(1)


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def rotated_iou(first: Tensor, second: Tensor, of_first: bool = False) -> Tensor:
    """Intersection over union of all pairs of rectangles.

    Args:
        first: (N, 5) centre x, y, size along the rectangle's own axes, angle in radians.
        second: (N', 5) likewise.
        of_first: over the area of the first rectangle instead of the union.

    Returns:
        (N, N') float64; 0 where both are empty.
    """
    i, j = torch.nonzero(_may_touch(first, second), as_tuple=True)
    iou = first.new_zeros(len(first), len(second), dtype=torch.float64)
    iou[i, j] = _pair_iou(first[i], second[j], of_first)
    return iou


def _may_touch(first: Tensor, second: Tensor) -> Tensor:
    """Pairs (N, N') bool of rectangles whose circumscribed circles touch."""
    reach, other = (boxes[:, 2:4].double().norm(dim=1) / 2 for boxes in (first, second))
    offset = first[:, None, :2].double() - second[:, :2].double()  # not cdist, which rounds where there are many
    touching: Tensor = offset.norm(dim=2) <= (reach[:, None] + other) * (1 + 1e-9)
    return touching


def _pair_iou(first: Tensor, second: Tensor, of_first: bool = False) -> Tensor:
    shared = rotated_intersections(first, second)
    area, other = (boxes[:, 2:4].double().prod(dim=1) for boxes in (first, second))
    iou: Tensor = shared / (area if of_first else area + other - shared).clamp(min=1e-14)
    return iou


def aligned_iou(boxes: Tensor, offset: float = 0.0) -> Tensor:
    """Intersection over union of all pairs of boxes (N, 4) x1, y1, x2, y2: (N, N) float64.

    ``offset`` is added to each width and height: 1 where the corners are pixels that belong to the box.
    """
    boxes = boxes.double()
    lower = torch.maximum(boxes[:, None, :2], boxes[:, :2])
    upper = torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared = (upper - lower + offset).clamp(min=0).prod(dim=2)
    area = (boxes[:, 2:] - boxes[:, :2] + offset).prod(dim=1)
    return shared / (area[:, None] + area - shared).clamp(min=1e-14)


def suppress(iou: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        iou: (N, N) overlaps.
        scores: (N,).
        threshold: a box goes where its overlap with a kept one of a larger score is above this.

    Returns:
        (K,) int64 numbers of the kept boxes, the best first; of equal scores the first box comes first.
    """
    order = _best_first(scores)
    return order[_kept((iou > threshold)[order][:, order])]


def suppress_rotated(boxes: Tensor, scores: Tensor, threshold: float, labels: Tensor | None = None) -> Tensor:
    """`suppress` by `rotated_iou`, of which only what can decide is computed.

    The model is mmcv's operator for CUDA. In that for CPUs an overlap that equals the threshold suppresses, too, and so
    do boxes of other labels, even where labels are given.

    Args:
        boxes: (N, 5) rectangles.
        scores: (N,).
        threshold: as in `suppress`.
        labels: (N,) only boxes of the same label suppress each other; None for all.
    """
    order = _best_first(scores)
    boxes = boxes[order]
    area = boxes[:, 2:4].double().prod(dim=1)
    most = torch.minimum(area[:, None], area) / torch.maximum(area[:, None], area).clamp(min=1e-14)  # one in the other
    open_pairs = _may_touch(boxes, boxes).triu(1) & (most > threshold)
    if labels is not None:
        open_pairs &= labels[order][:, None] == labels[order]
    i, j = torch.nonzero(open_pairs, as_tuple=True)
    covers = torch.zeros_like(open_pairs)
    covers[i, j] = _pair_iou(boxes[i], boxes[j]) > threshold
    return order[_kept(covers)]


def _best_first(scores: Tensor) -> Tensor:
    return torch.sort(scores, descending=True, stable=True).indices


def _kept(covers: Tensor) -> Tensor:
    """Positions (K,) that remain where each remaining row, from the first, removes the later ones that it covers."""
    rows = covers.cpu()
    gone = torch.zeros(len(rows), dtype=torch.bool)
    kept = []
    for position in range(len(rows)):
        if not gone[position]:
            kept.append(position)
            gone |= rows[position]
    return torch.tensor(kept, dtype=torch.int64, device=covers.device)
