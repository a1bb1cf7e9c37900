"""Where a ray enters a solid, and which ground a solid covers.

A solid is a row of nine numbers: x, y, z of its middle, three half extents, cosine and sine of its yaw, and its shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.world import Shape

Array = NDArray[np.float64]

_BOX, _CYLINDER, _ELLIPSOID = int(Shape.BOX), int(Shape.CYLINDER), int(Shape.ELLIPSOID)


@compiled
def rectangle_meets_square(form: Array, x: float, y: float, half_edge: float) -> bool:
    """Whether the rectangle around a solid, seen from above, touches an axis-parallel square around (x, y)."""
    cos, sin = abs(form[6]), abs(form[7])
    dx, dy = form[0] - x, form[1] - y
    if abs(dx) > half_edge + form[3] * cos + form[4] * sin or abs(dy) > half_edge + form[3] * sin + form[4] * cos:
        return False
    along, across = dx * form[6] + dy * form[7], dy * form[6] - dx * form[7]
    reach = half_edge * (cos + sin)
    return bool(abs(along) <= form[3] + reach and abs(across) <= form[4] + reach)


@compiled
def entry(form: Array, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> float:
    """Distance at which a ray enters a solid from outside; infinite where it does not.

    The ray is given relative to the frame of ``forms``; its direction need not be a unit vector, the distance is then
    in units of its length.
    """
    x, y, z = form[0] - ox, form[1] - oy, form[2] - oz
    cos, sin = form[6], form[7]
    # The ray in units of the half extents, along the solid's own axes
    px, py, pz = -(x * cos + y * sin) / form[3], -(y * cos - x * sin) / form[4], -z / form[5]
    vx, vy, vz = (dx * cos + dy * sin) / form[3], (dy * cos - dx * sin) / form[4], dz / form[5]
    shape = int(form[8])
    if shape == _BOX:
        near, far = _slab(px, vx, -np.inf, np.inf)
        near, far = _slab(py, vy, near, far)
    elif shape == _CYLINDER:
        near, far = _between_roots(vx * vx + vy * vy, px * vx + py * vy, px * px + py * py - 1.0)
    elif shape == _ELLIPSOID:
        return _positive(
            *_between_roots(vx * vx + vy * vy + vz * vz, px * vx + py * vy + pz * vz, px * px + py * py + pz * pz - 1.0)
        )
    else:
        return _positive(*_through_cone(px, py, pz, vx, vy, vz))
    return _positive(*_slab(pz, vz, near, far))


@compiled
def _positive(near: float, far: float) -> float:
    return near if 0.0 < near <= far else np.inf


@compiled
def _slab(p: float, v: float, near: float, far: float) -> tuple[float, float]:
    """What of [near, far] lies where -1 <= p + t v <= 1."""
    if v == 0.0:
        return (near, far) if abs(p) <= 1.0 else (np.inf, -np.inf)
    first, second = (-1.0 - p) / v, (1.0 - p) / v
    return max(near, min(first, second)), min(far, max(first, second))


@compiled
def _between_roots(a: float, b: float, c: float) -> tuple[float, float]:
    """Where a t² + 2 b t + c <= 0, for a >= 0."""
    if a == 0.0:
        return (-np.inf, np.inf) if c <= 0.0 else (np.inf, -np.inf)
    discriminant = b * b - a * c
    if discriminant < 0.0:
        return np.inf, -np.inf
    root = np.sqrt(discriminant)
    return (-b - root) / a, (-b + root) / a


@compiled
def _through_cone(px: float, py: float, pz: float, vx: float, vy: float, vz: float) -> tuple[float, float]:
    """Where a ray is inside the cone x² + y² <= ((1 - z) / 2)², |z| <= 1, which is convex."""
    low, high = _slab(pz, vz, -np.inf, np.inf)
    if low > high:
        return np.inf, -np.inf
    w, s = (1.0 - pz) / 2.0, -vz / 2.0
    a, b, c = vx * vx + vy * vy - s * s, px * vx + py * vy - w * s, px * px + py * py - w * w
    if a > 0.0:
        near, far = _between_roots(a, b, c)
        return max(low, near), min(high, far)
    if a == 0.0:
        if b == 0.0:
            return (low, high) if c <= 0.0 else (np.inf, -np.inf)
        return (low, min(high, -c / (2.0 * b))) if b > 0.0 else (max(low, -c / (2.0 * b)), high)
    # Steeper than the cone: between the roots it is outside; of the two rays beyond, the lower nappe's counts
    root = np.sqrt(max(b * b - a * c, 0.0))
    first, second = (-b + root) / a, (-b - root) / a
    return (max(low, second), high) if vz < 0.0 else (low, min(high, first))
