"""Info files of mmdet3d and its relatives: pickled lists of keyframes, cut down to the keyframes of some units.

A unit is what a run labels at once: a keyframe ("3e8750f3..."), a scene by its token or its name ("scene-0103"), or a
clip of a scene ("scene-0103/02", see `driving_samples.group_rows`).
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from al_lightning.data.pickles import read_pickle
from al_lightning.types import DataFileError

Layout = Literal["mmdet3d", "mmdet3d-v1", "vad"]
LAYOUTS: dict[Layout, str] = {"mmdet3d": "data_list", "mmdet3d-v1": "infos", "vad": "infos"}
"""The key under which the keyframes are: of mmdet3d from 1.1 on; before, and in BEVDet, FlashOcc, BEVFormer; in VAD."""
VAD_KEYS = ("scene_token", "gt_ego_fut_trajs")
"""What VAD's keyframes have and others have not."""
SCENE_KEYS = ("scene_token", "scene_name")
"""Where a keyframe may say its scene; plain mmdet3d does not."""


@dataclass(frozen=True)
class InfoFile:
    """An info file as it was read.

    Attributes:
        path: where it was read.
        content: everything in it.
        layout: see `LAYOUTS`.
    """

    path: Path
    content: dict[str, Any]
    layout: Layout

    @property
    def keyframes(self) -> list[dict[str, Any]]:
        """The keyframes in the order of the file."""
        keyframes: list[dict[str, Any]] = self.content[LAYOUTS[self.layout]]
        return keyframes

    @property
    def tokens(self) -> list[str]:
        """What names the keyframes (`keyframe_token`), in the order of the file."""
        return [keyframe_token(keyframe) for keyframe in self.keyframes]

    @property
    def version(self) -> str:
        """The version of nuScenes that the file names, such as "v1.0-trainval"; empty if it does not."""
        about = self.content.get("metainfo" if self.layout == "mmdet3d" else "metadata")
        return str(about.get("version", "")) if isinstance(about, dict) else ""

    def take(self, rows: Sequence[int]) -> InfoFile:
        """The file with these keyframes alone; everything else, and all of their fields, as they were."""
        kept = [self.keyframes[row] for row in rows]
        return replace(self, content={**self.content, LAYOUTS[self.layout]: kept})

    def write(self, path: Path) -> None:
        """Write it as a pickle of protocol 4, which every Python from 3.4 on reads."""
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            pickle.dump(self.content, file, protocol=4)
        partial.replace(path)


def keyframe_token(keyframe: Mapping[str, Any]) -> str:
    """What names a keyframe: its ``token``; its ``sample_idx`` in files without tokens, those of KITTI and Waymo."""
    return str(keyframe["token"] if "token" in keyframe else keyframe["sample_idx"])


def read_info_file(path: Path, layout: Layout) -> InfoFile:
    """Read an info file; nothing in it is run (`pickles.read_pickle`).

    Raises:
        DataFileError: the file is missing or damaged, of another layout, or a keyframe has no token or that of another.
    """
    content = read_pickle(path, "keyframes")
    key = LAYOUTS[layout]
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        other = sorted(set(LAYOUTS.values()) & content.keys()) if isinstance(content, dict) else []
        fitting = [name for name, place in LAYOUTS.items() if place in other]
        hint = f"; it has '{other[0]}': is it --format {' or '.join(fitting)}?" if other else ""
        raise DataFileError(f"{path} has no list of keyframes under '{key}', as --format {layout} needs{hint}")
    tokens: set[str] = set()
    for number, keyframe in enumerate(content[key]):
        known = set(keyframe) if isinstance(keyframe, dict) else set()
        known |= {"token"} if "sample_idx" in known else set()
        lacks = [name for name in _keys(layout) if name not in known]
        if lacks:
            raise DataFileError(f"keyframe {number} of {path} has no {', '.join(lacks)}, as --format {layout} needs")
        if (token := keyframe_token(keyframe)) in tokens:
            raise DataFileError(f"{path} holds the keyframe {token} twice")
        tokens.add(token)
    return InfoFile(path, content, layout)


def _keys(layout: Layout) -> tuple[str, ...]:
    return ("token", *(VAD_KEYS if layout == "vad" else ()))


def keyframe_units(
    file: InfoFile, units: Collection[str], scenes: Mapping[str, Sequence[str]] | None = None
) -> list[str | None]:
    """The unit of each keyframe.

    Clips are numbered anew: a scene that has n clips among the units is cut as `driving_samples.group_rows` cuts it,
    in the order of time, so that all of its keyframes must be in the file.

    Args:
        file: the keyframes.
        units: all units of a run, labeled or not.
        scenes: token of a keyframe -> what its scene is called (`read_scenes`), for files that do not say it.

    Returns:
        A name for each keyframe, None for one that is in no unit.
    """
    tokens, wanted = file.tokens, set(units)
    if not wanted.isdisjoint(tokens):
        return [token if token in wanted else None for token in tokens]
    clips: dict[str, int] = {}  # scene -> number of its clips; 0 for a scene that is a unit
    for unit in units:
        scene, slash, number = unit.rpartition("/")
        owner, count = (scene, int(number) + 1) if slash and number.isdecimal() else (unit, 0)
        clips[owner] = max(count, clips.get(owner, 0))
    names = [_scene(keyframe, clips, scenes) for keyframe in file.keyframes]
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None and clips[name]:
            rows.setdefault(name, []).append(row)
    for scene, members in rows.items():
        in_time = sorted(members, key=lambda row: float(file.keyframes[row]["timestamp"]))
        for position, row in enumerate(in_time):
            names[row] = f"{scene}/{position * clips[scene] // len(in_time):02d}"
    return names


def _scene(
    keyframe: Mapping[str, Any], known: Collection[str], scenes: Mapping[str, Sequence[str]] | None
) -> str | None:
    """What the units call the scene of a keyframe."""
    said = [keyframe[key] for key in SCENE_KEYS if key in keyframe]
    names = [*said, *(scenes or {}).get(keyframe_token(keyframe), ())]
    return next((name for name in names if name in known), None)


def read_scenes(folder: Path) -> dict[str, tuple[str, str]]:
    """Token of a keyframe -> token and name of its scene.

    Args:
        folder: of the tables of nuScenes, such as "nuscenes/v1.0-trainval".

    Raises:
        DataFileError: a table is missing or damaged.
    """
    try:
        scenes, samples = (json.loads((folder / f"{name}.json").read_bytes()) for name in ("scene", "sample"))
        names = {scene["token"]: (scene["token"], scene["name"]) for scene in scenes}
        return {sample["token"]: names[sample["scene_token"]] for sample in samples}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFileError(f"cannot read scenes and samples of the tables in {folder}: {error!r}") from error
