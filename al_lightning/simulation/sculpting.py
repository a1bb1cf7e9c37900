"""Drawing the forms of objects within their boxes, and the colours that they come in.

A body stands in its own frame, x forward, y left, the origin on the ground under the middle of its footprint. It is
drawn in shares of its box: x and y from -1 to 1 (back to front, right to left), z from 0 (ground) to 1 (top).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from al_lightning.simulation.world import Label, Shape, Solids, SolidsBuilder, Texture

Color = tuple[int, int, int]
Range = tuple[float, float]

DARK: Color = (28, 28, 30)
RUBBER: Color = (22, 22, 24)
STEEL: Color = (130, 134, 138)
WINDOW: Color = (38, 46, 54)
WHITE: Color = (235, 236, 238)
HEADLIGHT: Color = (245, 242, 225)
TAILLIGHT: Color = (190, 24, 22)

CAR_PAINT: Sequence[Color] = (
    *((225, 226, 228), (200, 202, 205), (150, 153, 158), (90, 93, 98), (32, 33, 36), (18, 18, 20)),
    *((150, 28, 30), (40, 62, 118), (28, 80, 140), (112, 96, 76), (46, 84, 62), (196, 160, 60)),
)
TRUCK_PAINT: Sequence[Color] = ((235, 235, 235), (205, 60, 48), (52, 92, 160), (230, 180, 60), (70, 120, 84))
BUS_PAINT: Sequence[Color] = ((176, 40, 44), (60, 130, 78), (232, 232, 226), (46, 84, 150), (220, 140, 40))
MACHINE_PAINT: Sequence[Color] = ((232, 172, 22), (226, 132, 24), (216, 190, 60))
CLOTHES: Sequence[Color] = (
    *((40, 44, 60), (90, 92, 96), (180, 178, 172), (130, 40, 44), (46, 74, 110), (70, 84, 60)),
    *((196, 150, 90), (150, 110, 140), (24, 24, 28), (222, 206, 120)),
)
TROUSERS: Sequence[Color] = ((36, 40, 54), (60, 62, 66), (88, 78, 64), (26, 26, 30), (70, 88, 116))
SKIN: Sequence[Color] = ((236, 196, 168), (206, 158, 124), (150, 104, 76), (96, 64, 48))
GOODS: Sequence[Color] = ((140, 104, 66), (70, 110, 70), (80, 84, 90), (60, 80, 130), (170, 60, 50))


class Body:
    """Solids drawn in shares of a box."""

    def __init__(self, label: Label, size: tuple[float, float, float], seed: int) -> None:
        self.label, self.size, self.seed = label, size, seed
        self.draw = np.random.default_rng(seed)
        self._builder = SolidsBuilder()

    def pick(self, colors: Sequence[Color]) -> Color:
        """One of the colours, a little lighter or darker."""
        color = np.array(colors[self.draw.integers(len(colors))]) * self.draw.uniform(0.88, 1.08)
        red, green, blue = np.clip(np.round(color), 0, 255).astype(int)
        return int(red), int(green), int(blue)

    def add(self, shape: Shape, x: Range, y: Range, z: Range, color: Color, texture: Texture = Texture.PLAIN) -> None:
        """A solid that fills a part of the box."""
        width, length, height = self.size
        scale = np.array([length / 2, width / 2, height])
        low, high = (np.array(corner) * scale for corner in zip(x, y, z, strict=True))
        seed = int(self.draw.integers(2**31))
        middle, half = ((low + high) / 2).tolist(), ((high - low) / 2).tolist()
        self._builder.add(shape, middle, half, self.label, color, texture=texture, seed=seed)

    def box(self, x: Range, y: Range, z: Range, color: Color, texture: Texture = Texture.PLAIN) -> None:
        """A box."""
        self.add(Shape.BOX, x, y, z, color, texture)

    def pole(self, x: float, y: float, z: Range, radius: float, color: Color, texture: Texture) -> None:
        """An upright cylinder of a radius in metres, within the box."""
        width, length, _ = self.size
        across, along = min(2 * radius / width, 1.0), min(2 * radius / length, 1.0)
        x, y = float(np.clip(x, along - 1, 1 - along)), float(np.clip(y, across - 1, 1 - across))
        self.add(Shape.CYLINDER, (x - along, x + along), (y - across, y + across), z, color, texture)

    def wheel(self, x: float, y: float, radius: float, thickness: float) -> None:
        """A wheel on the ground, radius and thickness in metres, within the box."""
        width, length, height = self.size
        along, across = min(2 * radius / length, 1.0), min(thickness / width, 1.0)
        x, y = float(np.clip(x, along - 1, 1 - along)), float(np.clip(y, across - 1, 1 - across))
        top = min(2 * radius / height, 1.0)
        self.add(Shape.ELLIPSOID, (x - along, x + along), (y - across, y + across), (0.0, top), RUBBER)

    def wheels(self, places: Sequence[float], radius: float, thickness: float = 0.3) -> None:
        """A wheel on either side at each place along the body."""
        for x in places:
            self.wheel(x, -1.0, radius, thickness)
            self.wheel(x, 1.0, radius, thickness)

    def lamps(self, height: float, size: float = 0.1) -> None:
        """Two headlamps and two tail lamps in the outermost hundredth of the length."""
        for y in ((-0.9, -0.55), (0.55, 0.9)):
            self.box((0.9, 1.0), y, (height, height + size), HEADLIGHT, Texture.HEADLAMP)
            self.box((-1.0, -0.9), y, (height + 0.03, height + size + 0.03), TAILLIGHT, Texture.TAILLAMP)

    def solids(self) -> Solids:
        """Everything drawn."""
        return self._builder.build()
