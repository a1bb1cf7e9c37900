"""Generation of a whole data set: in parallel, resumable, the same whatever the number of processes.

A finished scene leaves its rows of the tables in a staging folder; the tables appear, by one rename, when all scenes
are there. So a folder of tables means a whole data set, and a generation that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from al_lightning.simulation.claim import GenerationError, claimed, describe, recorded
from al_lightning.simulation.maps import write_map_files
from al_lightning.simulation.parallel import call_in_parallel, processors
from al_lightning.simulation.plan import LOCATIONS, ScenePlan, plan_scenes, town_seed
from al_lightning.simulation.presets import Preset, find_preset
from al_lightning.simulation.scene import Scene, write_scene
from al_lightning.simulation.tables import map_rows, write_table
from al_lightning.simulation.town import build_town
from al_lightning.simulation.vocabulary import MAP_MASKS, SCENE_TABLES, VERSION, Row, shared_rows
from al_lightning.simulation.world import Town

console = Console()


def ensure(root: str | Path, preset: str, seed: int = 0) -> Path:
    """The data set of a preset and a seed, generated unless it is there already.

    Args:
        root: its folder.
        preset: one of `PRESETS`.
        seed: source of everything random.

    Returns:
        The folder.

    Raises:
        ValueError: there is no such preset.
        GenerationError: see `generate`.
    """
    root = Path(root).expanduser()
    generate(root, find_preset(preset), seed)
    return root


def generate(root: Path, preset: Preset, seed: int = 0, workers: int | None = None) -> None:
    """Write a data set, or what of it is not there yet; at once where it is whole.

    Args:
        root: folder, created if need be.
        preset: size of the data set.
        seed: source of everything random.
        workers: processes; one a processor by default.

    Raises:
        GenerationError: the folder holds something else, or a worker was killed.
        ValueError: a number is out of range.
    """
    if seed < 0 or (workers is not None and workers < 1):
        raise ValueError(f"seed must not be negative and workers must be positive, got {seed} and {workers}")
    identity = describe(preset, seed)
    if _is_whole(root) and recorded(root) == identity:
        return
    with claimed(root, identity):
        if _is_whole(root):  # another process was faster
            return
        try:
            if not (root / VERSION).is_dir():
                _generate(root, preset, seed, workers or processors())
            shutil.rmtree(_staging(root))
        except BrokenProcessPool as error:
            raise GenerationError(
                "a process was killed, perhaps for want of memory; the same command with fewer workers goes on"
            ) from error
        except KeyboardInterrupt:
            console.print(f"Stopped. The same command goes on with what is missing in {root}.", highlight=False)
            raise


def _is_whole(root: Path) -> bool:
    return (root / VERSION).is_dir() and not _staging(root).exists()


def _staging(root: Path) -> Path:
    return root / ".staging"


def _generate(root: Path, preset: Preset, seed: int, workers: int) -> None:
    staging = _staging(root)
    staging.mkdir(exist_ok=True)
    plans = plan_scenes(preset, seed)
    locations = list(LOCATIONS)[: preset.towns]
    for location in locations:
        write_map_files(root / "maps", _town(location, preset.blocks, seed), MAP_MASKS[location])
    missing = [plan for plan in plans if not (staging / plan.name).is_dir()]
    if len(missing) < len(plans):
        console.print(f"{len(plans) - len(missing)} of {len(plans)} scenes are there already", highlight=False)
    if missing:
        _write_parts(root, preset, seed, missing, min(workers, len(missing)))
    write_tables(staging / "tables.part", [staging / plan.name for plan in plans], locations)
    (staging / "tables.part").rename(root / VERSION)


@cache
def _town(location: str, blocks: int, seed: int) -> Town:
    return build_town(location, blocks, town_seed(seed, location))


def build_scene(preset: Preset, seed: int, plan: ScenePlan) -> Scene:
    """A scene of a data set, as it was generated."""
    return Scene(plan, _town(plan.location, preset.blocks, seed), preset.keyframes, preset.image_size)


def _write_part(root: Path, preset: Preset, seed: int, plan: ScenePlan) -> None:
    """Write a scene and, when all its files are there, its rows of the tables to the staging folder."""
    rows = write_scene(root, f"{preset.name}/{seed}", build_scene(preset, seed, plan))
    final = _staging(root) / plan.name
    part = final.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for table in SCENE_TABLES:
        write_table(part / f"{table}.json", rows[table])
    part.rename(final)


def _write_parts(root: Path, preset: Preset, seed: int, plans: Sequence[ScenePlan], workers: int) -> None:
    start = time.monotonic()
    progress = Progress(
        TextColumn("Simulating"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} keyframes, {task.fields[rate]:.1f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    total = len(plans) * preset.keyframes
    bar = progress.add_task("", total=total, rate=0.0)

    def advance() -> None:
        done = progress.tasks[0].completed + preset.keyframes
        progress.update(bar, completed=done, rate=done / (time.monotonic() - start))
        if not console.is_terminal and 10 * done // total > 10 * (done - preset.keyframes) // total:
            console.print(f"{done:.0f} of {total} keyframes", highlight=False)  # the bar shows on terminals alone

    with progress:
        if workers == 1:
            for plan in plans:
                _write_part(root, preset, seed, plan)
                advance()
        else:
            build_scene(preset, seed, plans[0]).capture(0)  # compiles once what all workers then find compiled
            call_in_parallel(_write_part, [(root, preset, seed, plan) for plan in plans], workers, advance)
    seconds = time.monotonic() - start
    console.print(f"{total} keyframes in {seconds:.0f} s: {total / seconds:.1f} keyframes/s", highlight=False)


def write_tables(folder: Path, parts: Sequence[Path], locations: Iterable[str]) -> None:
    """Merge the rows of all scenes into the thirteen tables.

    Args:
        folder: to be written; an old one is replaced.
        parts: a folder a scene, in order.
        locations: the towns.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tables = shared_rows()
    for table in SCENE_TABLES:
        rows: list[Row] = [row for part in parts for row in json.loads((part / f"{table}.json").read_text("utf-8"))]
        write_table(folder / f"{table}.json", rows)
        if table == "log":
            tables["map"] = map_rows(rows, locations)
    for table, rows in tables.items():
        write_table(folder / f"{table}.json", rows)
