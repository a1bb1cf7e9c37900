"""How the surfaces of solids look: facades, bricks, leaves, paint, glass and lamps."""

from __future__ import annotations

import numpy as np

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.light import Array, Rgb
from al_lightning.simulation.sensors.noise import hashed, share, smooth
from al_lightning.simulation.world import Shape, Texture

_BOX, _CYLINDER, _CONE = int(Shape.BOX), int(Shape.CYLINDER), int(Shape.CONE)
_FACADE, _BRICK, _FOLIAGE, _STRIPES, _METAL, _GLASS, _CLOTH, _BARK = (
    int(texture)
    for texture in (
        *(Texture.FACADE, Texture.BRICK, Texture.FOLIAGE, Texture.STRIPES, Texture.METAL, Texture.GLASS),
        *(Texture.CLOTH, Texture.BARK),
    )
)


@compiled
def surface_at(form: Array, x: float, y: float, z: float) -> tuple[float, float, float, float, float]:
    """The surface of a solid where a ray met it.

    Args:
        form: a row of `Geometry.forms`.
        x: place relative to the geometry's center, as are y and z.
        y: see x.
        z: see x.

    Returns:
        The outward normal, and u, v: metres along the surface, sideways (from the middle) and up (from the ground).
    """
    dx, dy = x - form[0], y - form[1]
    along, across, up = dx * form[6] + dy * form[7], dy * form[6] - dx * form[7], z - form[2]
    px, py, pz = along / form[3], across / form[4], up / form[5]
    nx, ny, nz, u, v = 0.0, 0.0, 0.0, along, z
    if form[8] == _BOX:
        if abs(pz) >= abs(px) and abs(pz) >= abs(py):
            nz, v = np.sign(pz), across
        elif abs(px) >= abs(py):
            nx, u = np.sign(px), across
        else:
            ny = np.sign(py)
    elif form[8] == _CYLINDER and abs(pz) >= np.sqrt(px * px + py * py):
        nz, v = np.sign(pz), across
    else:
        nx, ny = px / form[3], py / form[4]
        if form[8] == _CONE:
            nz = np.sqrt(px * px + py * py) / (2.0 * form[5])
        elif form[8] != _CYLINDER:
            nz = pz / form[5]
        u = np.arctan2(py, px) * 0.5 * (form[3] + form[4])
    length = max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    nx, ny, nz = nx / length, ny / length, nz / length
    return nx * form[6] - ny * form[7], nx * form[7] + ny * form[6], nz, u, v


@compiled
def solid_color(
    texture: int, color: Rgb, form: Array, seed: int, u: float, v: float, nz: float, blur: float, night: bool
) -> tuple[float, float, float, float, float]:
    """Albedo of a solid, how much its surface mirrors, and how much of its own light a window sheds.

    Args:
        texture: a `Texture`.
        color: albedo without texture, linear RGB.
        form: a row of `Geometry.forms`.
        seed: of the solid.
        u: metres along the surface, see `surface_at`.
        v: likewise.
        nz: upward share of the normal.
        blur: width of what one pixel shows (metres); finer detail fades.
        night: whether rooms are lit.

    Returns:
        Linear RGB, mirrored share, own light.
    """
    tone, mirror = 1.0, 0.0
    if texture == _FACADE:
        return _facade(color, seed, u, v, nz, blur, night)
    if texture == _BRICK and abs(nz) < 0.5:
        tone = _bricks(u, v, seed, blur)
    elif texture == _FOLIAGE:
        tone = _leaves(u, v, seed, blur)
    elif texture == _STRIPES:
        return _stripes(color, form, u, v)
    elif texture == _METAL:
        mirror = 0.10 + 0.12 * max(nz, 0.0)
        tone = 0.72 + 0.28 * share(v, 0.2, 1.1) if abs(nz) < 0.5 else 1.0
    elif texture == _GLASS:
        mirror = 0.42
    elif texture == _CLOTH:
        tone = 0.85 + 0.3 * smooth(u * 9.0, v * 5.0, seed)
    elif texture == _BARK:
        tone = 0.7 + 0.6 * smooth(u * 14.0, v * 2.0, seed)
    else:
        tone = 0.94 + 0.12 * smooth(u * 1.3, v * 1.3, seed)
    return color[0] * tone, color[1] * tone, color[2] * tone, mirror, 0.0


@compiled
def _facade(
    color: Rgb, seed: int, u: float, v: float, nz: float, blur: float, night: bool
) -> tuple[float, float, float, float, float]:
    """Rows of windows over a ground floor of shops, each building with its own proportions."""
    red, green, blue = color
    if abs(nz) > 0.5:
        tone = 0.55 + 0.1 * smooth(u, v, seed)
        return red * tone, green * tone, blue * tone, 0.0, 0.0
    tone = 0.9 + 0.2 * smooth(u / 2.5, v / 2.5, seed)
    bay, storey = 2.2 + 2.2 * hashed(1, 0, seed), 2.8 + 0.8 * hashed(2, 0, seed)
    wide, tall = 0.4 + 0.45 * hashed(3, 0, seed), 0.4 + 0.35 * hashed(4, 0, seed)
    ground_floor = 3.6
    if v < ground_floor:
        bay, storey, wide, tall = 2.0 * bay, ground_floor, 0.8, 0.68
        floor, height = -1.0, v / ground_floor
    else:
        floor = np.floor((v - ground_floor) / storey)
        height = (v - ground_floor) / storey - floor
    column = np.floor(u / bay)
    across = abs(u / bay - column - 0.5)
    if blur > 0.8 * bay:
        tone *= 1.0 - 0.5 * wide * tall
        return red * tone, green * tone, blue * tone, 0.1 * wide * tall, (0.02 if night else 0.0)
    if across < wide / 2.0 and abs(height - 0.52) < tall / 2.0:
        frame = blur < 0.15 and (across > wide / 2.0 - 0.06 / bay * 2.0 or abs(height - 0.52) > tall / 2.0 - 0.03)
        if frame:
            return 0.5 * red, 0.5 * green, 0.5 * blue, 0.0, 0.0
        room = hashed(int(column), int(floor), seed + 7)
        lit = 0.0
        if night and room > (0.45 if floor < 0 else 0.75):
            lit = 0.05 + 0.22 * smooth(u / 0.8, v / 0.8, seed + 8) * (0.4 + 0.6 * hashed(int(floor), int(column), seed))
        dark = 0.02 + 0.10 * room * room
        return dark, dark * 1.08, dark * 1.2, 0.35, lit
    if height < 0.05 or height > 0.97:
        tone *= 0.72  # ledge
    if v < 0.5:
        tone *= 0.65
    return red * tone, green * tone, blue * tone, 0.0, 0.0


@compiled
def _bricks(u: float, v: float, seed: int, blur: float) -> float:
    fade = 1.0 - share(blur, 0.08, 0.35)
    tone = 0.9 + 0.2 * smooth(u / 1.7, v / 1.7, seed)
    if fade <= 0.0:
        return tone
    row = np.floor(v / 0.22)
    along = u / 0.5 + 0.5 * (row % 2.0)
    brick = np.floor(along)
    if along - brick < 0.07 or v / 0.22 - row < 0.14:
        return tone * (1.0 + 0.45 * fade)
    return tone * (1.0 + fade * 0.35 * (hashed(int(brick), int(row), seed) - 0.5))


@compiled
def _leaves(u: float, v: float, seed: int, blur: float) -> float:
    coarse = smooth(u / 0.7, v / 0.7, seed)
    fine = smooth(u / 0.16, v / 0.16, seed + 1) if blur < 0.3 else 0.5
    return 0.35 + 0.75 * coarse + 0.55 * (fine - 0.5)


@compiled
def _stripes(color: Rgb, form: Array, u: float, v: float) -> tuple[float, float, float, float, float]:
    """White bands around a cone or post, slanted white bars along a barrier."""
    if form[8] == _BOX:
        white = (u + 0.5 * v) / 0.5 % 1.0 < 0.5
    else:
        height = v / max(2.0 * form[5], 1e-6)
        white = 0.3 < height < 0.48 or 0.62 < height < 0.8
    if white:
        return 0.78, 0.78, 0.76, 0.0, 0.0
    return color[0], color[1], color[2], 0.0, 0.0
