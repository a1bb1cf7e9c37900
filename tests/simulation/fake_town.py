"""A small town by hand: a grid of two-way roads with junctions of two, three and four arms."""

import numpy as np
from shapely.geometry import LineString, Polygon

from al_lightning.simulation.world import GROUND_CELL, Ground, Label, Lane, Path, Site, SolidsBuilder, Town

BLOCK = 90.0
MARGIN = 30.0
HALF_LANE = 1.75
CORE = 14.0  # roads end so far from the middle of a junction


def _bezier(a, da, b, db):
    """A curve from a to b, leaving along da and arriving along db; a straight line where they agree."""
    reach = np.hypot(*(b - a)) * (1 / 3 if da @ db > 0.9 else 0.55)
    t = np.linspace(0, 1, 31)[:, None]
    c, d = a + reach * da, b - reach * db
    return (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * c + 3 * t**2 * (1 - t) * d + t**3 * b


def fake_town(columns=3, rows=3):
    """Nodes of a grid, roads between neighbours; sidewalks around the blocks, crossings at every arm."""
    nodes = [(i, j) for i in range(columns) for j in range(rows)]
    middle = {n: np.array([MARGIN + BLOCK * n[0], MARGIN + BLOCK * n[1]]) for n in nodes}
    drafts = []  # points, road, junction, turn, from key, to key, crossings
    crossings, parking = [], []
    edges = [(a, b) for a in nodes for b in nodes if abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1]
    for road, (a, b) in enumerate(edges):
        along = (middle[b] - middle[a]) / BLOCK
        right = np.array([along[1], -along[0]])
        s = np.linspace(CORE, BLOCK - CORE, 80)[:, None]
        length = BLOCK - 2 * CORE
        points = middle[a] + HALF_LANE * right + s * along
        drafts.append(
            (points, road, -1, "", ("start", a, b), ("end", a, b), ((1.0, 4.0), (length - 4.0, length - 1.0)))
        )
        at = middle[a] + along * (CORE + 2.5)
        crossings.append(Path(np.array([at - 7.2 * right, at + 7.2 * right])))
        for x in np.arange(CORE + 9, BLOCK - CORE - 9, 6.5):
            spot = middle[a] + along * x + right * 4.6
            parking.append((*spot, np.arctan2(along[1], along[0])))
    for junction, n in enumerate(nodes):
        for a, into in [e for e in edges if e[1] == n]:
            for out, b in [e for e in edges if e[0] == n and e[1] != a]:
                da, db = (middle[into] - middle[a]) / BLOCK, (middle[b] - middle[out]) / BLOCK
                start = middle[n] - CORE * da + HALF_LANE * np.array([da[1], -da[0]])
                end = middle[n] + CORE * db + HALF_LANE * np.array([db[1], -db[0]])
                cross = da[0] * db[1] - da[1] * db[0]
                turn = "straight" if abs(cross) < 0.1 else ("left" if cross > 0 else "right")
                points = _bezier(start, da, end, db)
                drafts.append((points, -1, junction, turn, ("end", a, n), ("start", n, b), ()))
    lanes = tuple(
        Lane(
            Path(points), 3.5, 11.0,
            tuple(i for i, d in enumerate(drafts) if d[4] == to),
            tuple(i for i, d in enumerate(drafts) if d[5] == begin),
            road, junction, turn, crossings=zebras,
        )
        for points, road, junction, turn, begin, to, zebras in drafts
    )  # fmt: skip
    sidewalks, sites = [], []
    for i in range(columns - 1):
        for j in range(rows - 1):
            low, high = middle[i, j] + 7.2, middle[i + 1, j + 1] - 7.2
            ring = [low, (high[0], low[1]), high, (low[0], high[1]), low]
            sidewalks.append(Path(np.array(ring)))
            sites.append(Site(low[0] + 12, (low[1] + high[1]) / 2, np.pi / 2, 14.0, 6.0))
    size = (2 * MARGIN + BLOCK * (columns - 1), 2 * MARGIN + BLOCK * (rows - 1))
    shape = tuple(int(v / GROUND_CELL) for v in size[::-1])
    ground = Ground(np.full(shape, Label.TERRAIN, np.uint8), np.zeros(shape, np.uint8))
    polygons = {"lane": [Polygon(LineString(lane.path.points).buffer(1.75)) for lane in lanes]}
    return Town(
        "singapore-onenorth", size, lanes, ground, SolidsBuilder().build(), polygons, [], [],
        sidewalks, crossings, np.array(parking), sites,
    )  # fmt: skip
