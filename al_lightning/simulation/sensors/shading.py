"""The light along a camera's rays: surfaces under sun, sky and lamps, seen through the air."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.ground_texture import cell as ground_cell
from al_lightning.simulation.sensors.ground_texture import ground_color, paint_color, paint_nearby, paint_wear
from al_lightning.simulation.sensors.lens import Radiance
from al_lightning.simulation.sensors.light import GroundLight, Light, Rgb, sample, sky
from al_lightning.simulation.sensors.noise import share
from al_lightning.simulation.sensors.raycast import GROUND
from al_lightning.simulation.sensors.solid_texture import solid_color, surface_at
from al_lightning.simulation.world import Texture

Array = NDArray[np.float64]

_HEADLAMP, _TAILLAMP, _STREETLAMP = int(Texture.HEADLAMP), int(Texture.TAILLAMP), int(Texture.STREETLAMP)


class Place(NamedTuple):
    """Where things are: the camera, the ego vehicle and the middle of the geometry."""

    origin: Rgb
    ego: Rgb
    center_x: float
    center_y: float
    radius: float
    step: float


class Coat(NamedTuple):
    """Columns of `Solids`."""

    color: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    seed: NDArray[np.uint32]


@compiled
def radiance_along(
    directions: Array,
    steps: Array,
    distance: NDArray[np.float32],
    solid: NDArray[np.int32],
    place: Place,
    forms: Array,
    numbers: NDArray[np.int32],
    paint: Coat,
    labels: NDArray[np.uint8],
    paints: NDArray[np.uint8],
    light: Light,
    on_ground: GroundLight,
) -> Radiance:
    """Light along each ray (M, 3)."""
    radiance = np.empty((len(directions), 3), np.float32)
    for ray in range(len(directions)):
        d = (directions[ray, 0], directions[ray, 1], directions[ray, 2])
        if solid[ray] >= 0:
            number = solid[ray]
            form = forms[numbers[number]]
            color = _solid_light(d, distance[ray], form, number, place, paint, light, on_ground)
            color = _haze(color, distance[ray], light)
        elif solid[ray] == GROUND:
            color = _ground_light(d, steps, distance[ray], place, labels, paints, light, on_ground)
            color = _haze(color, distance[ray], light)
        else:
            color = sky(light, d[0], d[1], d[2])
        radiance[ray, 0], radiance[ray, 1], radiance[ray, 2] = color
    return radiance


@compiled
def _haze(color: Rgb, distance: float, light: Light) -> Rgb:
    """The colour seen through the air."""
    clear = np.exp(-light.density * distance)
    air = light.haze
    return (
        air[0] + (color[0] - air[0]) * clear,
        air[1] + (color[1] - air[1]) * clear,
        air[2] + (color[2] - air[2]) * clear,
    )


@compiled
def _headlight(place: Place, x: float, y: float, z: float) -> float:
    """Light of the ego vehicle's headlamps at a place in the global frame."""
    dx, dy = x - place.ego[0], y - place.ego[1]
    cos, sin = np.cos(place.ego[2]), np.sin(place.ego[2])
    ahead, aside = dx * cos + dy * sin - 3.0, dy * cos - dx * sin
    if ahead <= 0.0:
        return 0.0
    angle = aside / (ahead + 0.8)
    beam = np.exp(-6.0 * angle * angle) * share(ahead, 0.0, 3.0)
    above = share(z, 0.7 + 0.01 * ahead, 1.6 + 0.06 * ahead)
    return float(0.4 * beam * (1.0 - 0.8 * above) / (1.0 + (ahead / 13.0) ** 2))


@compiled
def _ground_light(
    d: Rgb,
    steps: Array,
    distance: float,
    place: Place,
    labels: NDArray[np.uint8],
    paints: NDArray[np.uint8],
    light: Light,
    on_ground: GroundLight,
) -> Rgb:
    x, y = place.origin[0] + distance * d[0], place.origin[1] + distance * d[1]
    blur = distance * place.step / np.sqrt(max(-d[2], 0.02))
    red, green, blue = ground_color(labels, x, y, blur)
    coat, code = paint_nearby(paints, x, y) if blur < 0.15 else _paint_share(d, steps, place, paints)
    if coat > 0.0:
        coat *= paint_wear(x, y, blur)
        fresh = paint_color(code)
        red, green, blue = (
            red + (fresh[0] - red) * coat,
            green + (fresh[1] - green) * coat,
            blue + (fresh[2] - blue) * coat,
        )
    local_x, local_y = x - place.center_x, y - place.center_y
    sun = sample(on_ground.sun, local_x, local_y, place.radius, 1.0) * light.sun[2]
    open_sky = sample(on_ground.sky, local_x, local_y, place.radius, 1.0)
    lamps = 0.0
    if light.night:
        lamps = sample(on_ground.lamps, local_x, local_y, place.radius, 0.0) + _headlight(place, x, y, 0.0)
    if light.wet:
        red, green, blue = 0.55 * red, 0.55 * green, 0.55 * blue
    red *= sun * light.sunlight[0] + open_sky * light.ambient[0] + lamps
    green *= sun * light.sunlight[1] + open_sky * light.ambient[1] + 0.86 * lamps
    blue *= sun * light.sunlight[2] + open_sky * light.ambient[2] + 0.62 * lamps
    return red, green, blue


@compiled
def _paint_share(d: Rgb, steps: Array, place: Place, paints: NDArray[np.uint8]) -> tuple[float, int]:
    """How much of a pixel of ground is painted, and with what: the middles of its four quarters count."""
    depth = d[0] * steps[2, 0] + d[1] * steps[2, 1] + d[2] * steps[2, 2]
    coat, code = 0.0, 0
    for right in (-0.25, 0.25):
        for down in (-0.25, 0.25):
            dx = d[0] + depth * (right * steps[0, 0] + down * steps[1, 0])
            dy = d[1] + depth * (right * steps[0, 1] + down * steps[1, 1])
            dz = d[2] + depth * (right * steps[0, 2] + down * steps[1, 2])
            if dz < -1e-4:
                t = -place.origin[2] / dz
                found = ground_cell(paints, place.origin[0] + t * dx, place.origin[1] + t * dy, 0)
                if found:
                    coat, code = coat + 0.25, found
    return coat, code


@compiled
def _solid_light(
    d: Rgb,
    distance: float,
    form: Array,
    number: int,
    place: Place,
    paint: Coat,
    light: Light,
    on_ground: GroundLight,
) -> Rgb:
    x, y = place.origin[0] + distance * d[0], place.origin[1] + distance * d[1]
    z = place.origin[2] + distance * d[2]
    local_x, local_y = x - place.center_x, y - place.center_y
    nx, ny, nz, u, v = surface_at(form, local_x, local_y, z)
    texture = int(paint.texture[number])
    own = (
        (paint.color[number, 0] / 255.0) ** 2,
        (paint.color[number, 1] / 255.0) ** 2,
        (paint.color[number, 2] / 255.0) ** 2,
    )
    if light.night and texture in (_HEADLAMP, _TAILLAMP, _STREETLAMP):
        shine = 1.2 if texture == _TAILLAMP else 4.0
        return shine * own[0], shine * own[1], shine * own[2]
    facing = -(d[0] * nx + d[1] * ny + d[2] * nz)
    blur = distance * place.step / max(facing, 0.15)
    red, green, blue, mirror, inside = solid_color(
        texture, own, form, int(paint.seed[number]), u, v, nz, blur, light.night
    )
    sun = max(nx * light.sun[0] + ny * light.sun[1] + nz * light.sun[2], 0.0)
    low = 0.55 + 0.45 * share(z, 0.0, 0.6)
    open_sky = (0.72 + 0.28 * nz) * low
    lamps = 0.0
    if light.night:
        lamps = 0.6 * sample(on_ground.lamps, local_x, local_y, place.radius, 0.0) * (1.0 - 0.7 * share(z, 4.0, 9.0))
        lamps += _headlight(place, x, y, z) * (0.25 + 0.75 * max(facing, 0.0))
    red *= sun * light.sunlight[0] + open_sky * light.ambient[0] + lamps
    green *= sun * light.sunlight[1] + open_sky * light.ambient[1] + 0.86 * lamps
    blue *= sun * light.sunlight[2] + open_sky * light.ambient[2] + 0.62 * lamps
    if mirror > 0.0:
        mirror *= 0.5 + 0.8 * (1.0 - min(max(facing, 0.0), 1.0)) ** 3
        up = d[2] + 2.0 * facing * nz
        away = sky(light, d[0] + 2.0 * facing * nx, d[1] + 2.0 * facing * ny, up)
        dim = mirror * (1.0 if up > 0.05 else 0.35)
        red, green, blue = red + dim * away[0], green + dim * away[1], blue + dim * away[2]
    return red + inside, green + 0.8 * inside, blue + 0.5 * inside
