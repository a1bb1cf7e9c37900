"""Networks: plain modules with the official names of every parameter, so that official checkpoints load."""

from al_lightning.models.checkpoint import load_checkpoint
from al_lightning.models.ego_status import EgoStatusPlanner
from al_lightning.models.flashocc import FlashOcc, flashocc_m0, flashocc_nano, flashocc_r50
from al_lightning.models.occformer import OccFormer, OccFormerSize, occformer_kitti, occformer_nano
from al_lightning.models.resnet import ResNet
from al_lightning.models.scene_encoder import SceneEncoder
from al_lightning.models.vad import VAD, vad_nano, vad_tiny

__all__ = [
    "VAD",
    "EgoStatusPlanner",
    "FlashOcc",
    "OccFormer",
    "OccFormerSize",
    "ResNet",
    "SceneEncoder",
    "flashocc_m0",
    "flashocc_nano",
    "flashocc_r50",
    "load_checkpoint",
    "occformer_kitti",
    "occformer_nano",
    "vad_nano",
    "vad_tiny",
]
