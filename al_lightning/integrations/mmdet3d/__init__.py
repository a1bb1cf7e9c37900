"""Backbones, necks and detectors of OpenMMLab's mmdet and mmdet3d; see docs/mmdet3d.md.

The only package that imports mmcv, mmengine, mmdet or mmdet3d, and only when something of theirs is built.
"""

from al_lightning.integrations.mmdet3d.detector import MMDet3DDetector
from al_lightning.integrations.mmdet3d.frames import MMDet3DFrames
from al_lightning.integrations.mmdet3d.infos import prepare_simulated, write_infos
from al_lightning.integrations.mmdet3d.libraries import MissingLibraryError
from al_lightning.integrations.mmdet3d.trunks import MMBackbone, MMNeck

__all__ = [
    "MMBackbone",
    "MMDet3DDetector",
    "MMDet3DFrames",
    "MMNeck",
    "MissingLibraryError",
    "prepare_simulated",
    "write_infos",
]
