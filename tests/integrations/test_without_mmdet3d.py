"""What one is told without the extra, and that nothing of it is imported before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from al_lightning.config import ConfigError, instantiate
from al_lightning.integrations.mmdet3d import libraries

PARTS = {
    "MMBackbone": {"type": "mmdet.SwinTransformer"},
    "MMNeck": {"type": "mmdet.FPN", "arguments": {"in_channels": [8]}},
    "MMDet3DDetector": {"config": "mmdet3d::centerpoint/x.py"},
    "MMDet3DFrames": {"config": "mmdet3d::centerpoint/x.py"},
}


@pytest.mark.parametrize("name", PARTS)
def test_the_extra_is_named(name, monkeypatch):
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    node = {"_target_": f"al_lightning.integrations.mmdet3d.{name}", **PARTS[name]}
    with pytest.raises(ConfigError, match=r"part: (type|config) '.*' needs mmengine.* pip install .*\[mmdet3d\]"):
        instantiate(node, "part")


def test_nothing_is_imported_early():
    code = (
        "import sys, al_lightning.cli, al_lightning.integrations.mmdet3d\n"
        "sys.exit(bool({'mmcv', 'mmdet', 'mmdet3d', 'mmengine'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
