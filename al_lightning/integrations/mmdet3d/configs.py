"""Configuration files of mmdet3d: found, changed and taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from al_lightning.integrations.mmdet3d.libraries import require

FOREIGN_OBJECTS = ("ObjectSample", "UnifiedObjectSample")
"""Transforms that paste labeled objects of other frames, out of a database of the whole training set."""


def read_config(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """An mmdet3d configuration (`mmengine.Config`).

    Args:
        name: path of a file, or ``mmdet3d::<folder>/<file>.py`` for one that comes with mmdet3d.
        options: what to change in it: nested keys, as mmdet3d's ``--cfg-options``; a list replaces a list.

    Raises:
        ValueError: there is no such file (those beside it are named), it cannot be read, or an option leads nowhere.
    """
    require(f"config '{name}'")
    import mmdet3d
    from mmengine import Config

    path = Path(name).expanduser()
    if name.startswith("mmdet3d::"):
        folder = Path(mmdet3d.__file__).parent / ".mim" / "configs"
        path = folder / name.removeprefix("mmdet3d::")
        if not path.is_file():
            beside = sorted(file.relative_to(folder).as_posix() for file in path.parent.glob("*.py"))
            folders = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
            raise ValueError(f"mmdet3d has no config {name}; there are: {', '.join(beside or folders)}")
    if not path.is_file():
        raise ValueError(f"there is no config file {path}")
    try:
        config = Config.fromfile(path)
        unknown = sorted(set(options or {}) - set(config))
        if unknown:
            raise ValueError(f"it has no {', '.join(unknown)}")
        config.merge_from_dict(dict(options or {}))
    except Exception as error:  # it is code, which can fail in any way
        raise ValueError(f"cannot read config {name}, or change it by the options: {error}") from error
    return config


def frames_node(config: Any, part: str) -> dict[str, Any]:
    """The node of the plain dataset of ``train`` or ``val``, without what repeats or balances its frames.

    Raises:
        ValueError: the configuration has no such dataset.
    """
    loader = config.get(f"{part}_dataloader")
    node = None if loader is None else loader.get("dataset")
    while node is not None and "dataset" in node:
        node = node["dataset"]
    if node is None or "pipeline" not in node:
        raise ValueError(f"the mmdet3d config has no dataset with a pipeline in {part}_dataloader")
    return dict(node.to_dict())


def class_names(config: Any) -> tuple[str, ...]:
    """The classes, in the order of their labels.

    Raises:
        ValueError: the configuration does not name them.
    """
    names = frames_node(config, "val").get("metainfo", {}).get("classes")
    if not names:
        raise ValueError("the mmdet3d config names no classes in val_dataloader.dataset.metainfo")
    return tuple(names)


def build_model(node: Mapping[str, Any], name: str) -> Any:
    """A module of OpenMMLab's registries.

    Args:
        node: ``type`` and arguments.
        name: what is built, for messages.

    Raises:
        ValueError: there is no such type, or it refuses its arguments.
    """
    from mmdet3d.registry import MODELS
    from mmengine import ConfigDict

    try:
        return MODELS.build(ConfigDict(node))
    except (AssertionError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be built: {error}") from error
