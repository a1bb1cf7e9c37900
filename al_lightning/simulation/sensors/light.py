"""Sun, sky, haze and lamps, and the shadows on the ground."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.intersection import entry
from al_lightning.simulation.sensors.noise import share, smooth
from al_lightning.simulation.sensors.raycast import Geometry
from al_lightning.simulation.world import Texture, Weather

Array = NDArray[np.float64]
Raster = NDArray[np.float32]
Rgb = tuple[float, float, float]

SHADOW_CELL = 0.5
"""Edge of a cell of the rasters of shadow and lamplight (metres)."""


class Light(NamedTuple):
    """The light of a scene, in shares of full daylight; colours are linear RGB.

    Attributes:
        sun: direction towards the sun, a unit vector.
        sunlight: colour of its light.
        ambient: colour of the light of the sky.
        zenith: colour of the sky overhead.
        haze: colour of the horizon, and of what is far away.
        density: share of haze that a metre of air adds.
        clouds: share of the sky under clouds.
        night: whether lamps are on.
        wet: whether the ground is wet.
        seed: of the clouds.
    """

    sun: Rgb
    sunlight: Rgb
    ambient: Rgb
    zenith: Rgb
    haze: Rgb
    density: float
    clouds: float
    night: bool
    wet: bool
    seed: int


def light_of(weather: Weather) -> Light:
    """The light of a kind of weather; a low sun is warmer and weaker."""
    azimuth, elevation = weather.sun
    flat = float(np.cos(elevation))
    sun = (float(np.cos(azimuth)) * flat, float(np.sin(azimuth)) * flat, float(np.sin(elevation)))
    generator = np.random.default_rng((weather.seed, 1))
    clouds = float(generator.uniform(0.25, 0.75))
    if weather.night:
        zenith, haze, ambient = (0.002, 0.003, 0.007), (0.014, 0.012, 0.014), (0.010, 0.011, 0.018)
        density = 0.006 if weather.rain else 0.002
        return Light(sun, (0.0, 0.0, 0.0), ambient, zenith, haze, density, clouds, True, weather.rain, weather.seed)
    if weather.rain:
        gray = float(generator.uniform(0.36, 0.5))
        zenith, haze = (0.8 * gray, 0.84 * gray, 0.9 * gray), (gray, 1.02 * gray, 1.05 * gray)
        return Light(sun, (0.0, 0.0, 0.0), haze, zenith, haze, 0.010, 1.0, False, True, weather.seed)
    warmth = float(np.clip(1.2 - elevation, 0.0, 1.0))
    strength = 0.55 + 0.55 * min(max(sun[2], 0.0), 1.0)
    sunlight = (strength, strength * (0.95 - 0.14 * warmth), strength * (0.88 - 0.36 * warmth))
    zenith, haze = (0.10, 0.24, 0.58), (0.62 + 0.12 * warmth, 0.68, 0.76 - 0.14 * warmth)
    return Light(sun, sunlight, (0.30, 0.34, 0.42), zenith, haze, 0.0035, clouds, False, False, weather.seed)


@compiled
def sky(light: Light, dx: float, dy: float, dz: float) -> Rgb:
    """Colour of the sky in a direction (unit vector); below the horizon that of the horizon."""
    up = max(dz, 0.0)
    fade = 1.0 - (1.0 - up) ** 4
    red = light.haze[0] + (light.zenith[0] - light.haze[0]) * fade
    green = light.haze[1] + (light.zenith[1] - light.haze[1]) * fade
    blue = light.haze[2] + (light.zenith[2] - light.haze[2]) * fade
    if dz > 0.02:
        x, y = dx / (dz + 0.12), dy / (dz + 0.12)
        cover = 0.55 * smooth(1.3 * x, 1.3 * y, light.seed + 11) + 0.3 * smooth(3.1 * x, 3.1 * y, light.seed + 12)
        cover += 0.15 * smooth(7.3 * x, 7.3 * y, light.seed + 13)
        white = share(cover, 0.75 - 0.5 * light.clouds, 0.95 - 0.45 * light.clouds) * share(dz, 0.0, 0.15)
        tone = (0.9 if light.clouds < 1.0 else 0.75) + 0.25 * (cover - 0.5)
        brightness = tone * 1.15 * max(light.haze[1], light.zenith[1])
        red += (brightness - red) * white * 0.85
        green += (brightness - green) * white * 0.85
        blue += (brightness * 1.02 - blue) * white * 0.85
    glow = dx * light.sun[0] + dy * light.sun[1] + dz * light.sun[2]
    if glow > 0.9 and light.sunlight[0] > 0.0:
        halo = (glow - 0.9) * 10.0
        halo = 0.35 * halo * halo + (3.0 if glow > 0.9994 else 0.0)
        red, green, blue = red + halo, green + halo * 0.95, blue + halo * 0.85
    return red, green, blue


class GroundLight(NamedTuple):
    """Light on the ground around a geometry's center; rows along x, columns along y, from the lower corner.

    Attributes:
        sun: (C, C) share of the sun's light that arrives.
        sky: (C, C) share of the sky's light that arrives.
        lamps: (C, C) light of street lamps and headlamps.
    """

    sun: Raster
    sky: Raster
    lamps: Raster


_KNOWN: WeakKeyDictionary[Geometry, dict[Light, GroundLight]] = WeakKeyDictionary()


def ground_light(geometry: Geometry, light: Light) -> GroundLight:
    """Shadows and lamplight around a geometry's center; found once for all cameras."""
    known = _KNOWN.setdefault(geometry, {})
    if light not in known:
        known[light] = _ground_light(geometry, light)
    return known[light]


def _ground_light(geometry: Geometry, light: Light) -> GroundLight:
    count = int(np.ceil(2 * geometry.radius / SHADOW_CELL))
    sun = np.ones((count, count), np.float32)
    open_sky = np.ones((count, count), np.float32)
    lamps = np.zeros((count, count), np.float32)
    if light.sunlight[0] > 0.0:
        _cast_shadows(sun, geometry.forms, geometry.radius, np.array(light.sun))
    _occlude(open_sky, geometry.forms, geometry.radius)
    if light.night:
        texture = geometry.solids.texture[geometry.index]
        _light_lamps(lamps, geometry.forms[texture == Texture.STREETLAMP], geometry.radius, 0.0, 7.0, 0.32)
        _light_lamps(lamps, geometry.forms[texture == Texture.HEADLAMP], geometry.radius, 5.0, 2.5, 0.18)
    return GroundLight(sun, open_sky, lamps)


@compiled
def _cells(low: float, high: float, radius: float, count: int) -> tuple[int, int]:
    return max(int((low + radius) / SHADOW_CELL), 0), min(int((high + radius) / SHADOW_CELL), count - 1)


@compiled
def _cast_shadows(sun: Raster, forms: Array, radius: float, towards: Array) -> None:
    """Darken the cells from which a solid hides the sun."""
    sx, sy = towards[0] / max(towards[2], 0.15), towards[1] / max(towards[2], 0.15)
    for number in range(len(forms)):
        form = forms[number]
        reach = np.sqrt(form[3] ** 2 + form[4] ** 2)
        bottom, top = form[2] - form[5], form[2] + form[5]
        shift_x, shift_y = sorted((-sx * bottom, -sx * top)), sorted((-sy * bottom, -sy * top))
        low_x, high_x = _cells(form[0] - reach + shift_x[0], form[0] + reach + shift_x[1], radius, len(sun))
        low_y, high_y = _cells(form[1] - reach + shift_y[0], form[1] + reach + shift_y[1], radius, len(sun))
        for i in range(low_x, high_x + 1):
            x = (i + 0.5) * SHADOW_CELL - radius
            for j in range(low_y, high_y + 1):
                y = (j + 0.5) * SHADOW_CELL - radius
                if sun[i, j] > 0.0 and entry(form, x, y, -0.01, sx, sy, 1.0) < np.inf:
                    sun[i, j] = 0.0


@compiled
def _occlude(open_sky: Raster, forms: Array, radius: float) -> None:
    """Darken the cells under and beside the solids that stand on the ground or just above it."""
    for number in range(len(forms)):
        form = forms[number]
        if form[2] - form[5] > 0.6 or form[5] < 0.1:
            continue
        cos, sin = form[6], form[7]
        margin = min(0.25 + 0.3 * form[5], 1.0)
        reach = np.sqrt(form[3] ** 2 + form[4] ** 2) + margin
        low_x, high_x = _cells(form[0] - reach, form[0] + reach, radius, len(open_sky))
        low_y, high_y = _cells(form[1] - reach, form[1] + reach, radius, len(open_sky))
        for i in range(low_x, high_x + 1):
            dx = (i + 0.5) * SHADOW_CELL - radius - form[0]
            for j in range(low_y, high_y + 1):
                dy = (j + 0.5) * SHADOW_CELL - radius - form[1]
                beside = max(abs(dx * cos + dy * sin) - form[3], abs(dy * cos - dx * sin) - form[4])
                if beside < margin:
                    open_sky[i, j] = min(open_sky[i, j], 0.35 + 0.65 * max(beside, 0.0) / margin)


@compiled
def _light_lamps(lamps: Raster, forms: Array, radius: float, ahead: float, height: float, strength: float) -> None:
    """Add pools of light, ``ahead`` metres in front of lamps and as wide as from a lamp at ``height``."""
    reach = 3.5 * height
    for number in range(len(forms)):
        form = forms[number]
        x, y = form[0] + ahead * form[6], form[1] + ahead * form[7]
        low_x, high_x = _cells(x - reach, x + reach, radius, len(lamps))
        low_y, high_y = _cells(y - reach, y + reach, radius, len(lamps))
        for i in range(low_x, high_x + 1):
            dx = (i + 0.5) * SHADOW_CELL - radius - x
            for j in range(low_y, high_y + 1):
                dy = (j + 0.5) * SHADOW_CELL - radius - y
                q = 1.0 + (dx * dx + dy * dy) / (height * height)
                lamps[i, j] += strength * max(1.0 / (q * q) - 0.0057, 0.0)


@compiled
def sample(raster: Raster, x: float, y: float, radius: float, outside: float) -> float:
    """A raster of `GroundLight` between its cells, at a place relative to the center."""
    u, v = (x + radius) / SHADOW_CELL - 0.5, (y + radius) / SHADOW_CELL - 0.5
    if not (0.0 <= u < len(raster) - 1 and 0.0 <= v < len(raster) - 1):
        return outside
    i, j = int(u), int(v)
    u, v = u - i, v - j
    lower = raster[i, j] * (1.0 - v) + raster[i, j + 1] * v
    upper = raster[i + 1, j] * (1.0 - v) + raster[i + 1, j + 1] * v
    return float(lower * (1.0 - u) + upper * u)
