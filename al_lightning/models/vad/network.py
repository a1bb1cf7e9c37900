"""VAD (arXiv 2303.12077): cameras to agents, map and a planned trajectory, end to end.

Parameter names and arithmetic are those of the official code, so its checkpoints load. The released ones expect images
in BGR order from which only the mean was subtracted; that belongs to the dataset.

Shape letters: B samples, N cameras, H W pixels, h w feature pixels, Q cells, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from al_lightning.driving import Drive, DrivingInputs, DrivingPrediction
from al_lightning.models.checkpoint import load_backbone, load_checkpoint
from al_lightning.models.image_neck import ImageNeck
from al_lightning.models.image_trunk import ImageMerger, ImageTrunk, check_fit, last_maps
from al_lightning.models.resnet import ResNet
from al_lightning.models.vad.grid_mask import GridMask
from al_lightning.models.vad.head import VADHead
from al_lightning.models.vad.modes import deterministic
from al_lightning.models.vad.transformer import VADSize
from al_lightning.types import VoxelGrid

OFFICIAL_GRID = VoxelGrid((-15.0, -30.0, -2.0), (15.0, 30.0, 2.0), (100, 100, 4))
"""Cells of VAD-tiny in the LiDAR frame: 0.3 m to the right, 0.6 m forward, asked at four heights."""


class SingleLevelNeck(ImageMerger):
    """FPN over the last stage alone: two convolutions, no norm, no activation.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    scale = 1

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = (in_channels,), out_channels
        pyramid = ImageNeck((in_channels,), out_channels)
        self.lateral_convs, self.fpn_convs = pyramid.lateral_convs, pyramid.fpn_convs

    def forward(self, coarse: Tensor) -> Tensor:
        """(B, C0, h, w) to (B, C, h, w)."""
        out: Tensor = self.fpn_convs[0](self.lateral_convs[0](coarse))
        return out


class VAD(nn.Module):
    """Cameras to agents, map and plan. `vad_tiny` and `vad_nano` name useful sizes.

    All dropout comes after the image trunk, so that random passes repeat only what `prepare` returns. The past is a
    bird's-eye view (B, Q, C) that the caller carries from frame to frame (`carry`).

    Args:
        grid: cells of the bird's-eye view (x, y) and heights at which cameras are asked (z), LiDAR frame; Z divides 8.
        backbone: image trunk.
        size: sizes of everything else.
        cameras: N.
        stride: image pixels per feature pixel: 32 takes the trunk's last stage, 16 merges the last two.
        frozen_trunk: the trunk's norms stay as they are, its stem and first stage learn nothing; for pretrained trunks.
        turning_point: (column, row), in cells from the outer edge, about which the carried view is turned by the change
            of heading. TRAP: official checkpoints want (100, 100), see `turn`. None for the middle.
        neck: makes the image features, at the stride; None for the official one.
        grid_mask: probability with which training images, not those of the past, are seen through a grid.

    Raises:
        ValueError: sizes that do not fit together, or no probability.
    """

    def __init__(
        self,
        grid: VoxelGrid,
        backbone: ImageTrunk,
        size: VADSize | None = None,
        cameras: int = 6,
        stride: int = 32,
        frozen_trunk: bool = True,
        turning_point: tuple[float, float] | None = (100.0, 100.0),
        neck: ImageMerger | None = None,
        grid_mask: float = 0.0,
    ) -> None:
        super().__init__()
        if stride not in (16, 32):
            raise ValueError(f"stride must be 16 or 32, got {stride}")
        if 8 % grid.shape[2]:
            raise ValueError(f"the grid's heights must divide the 8 points of camera attention, got {grid.shape[2]}")
        size = VADSize() if size is None else size
        middle = (grid.shape[0] / 2, grid.shape[1] / 2)
        self.stride, self.frozen_trunk = stride, frozen_trunk
        self.grid_mask = GridMask(grid_mask)
        self.pts_bbox_head = VADHead(grid, size, cameras, turning_point or middle)
        self.img_backbone = backbone
        channels = backbone.out_channels
        coarse = stride == 32
        if neck is None:
            neck = SingleLevelNeck(channels[-1], size.dims) if coarse else ImageNeck(channels[-2:], size.dims)
        self.img_neck = neck
        check_fit(backbone, self.img_neck, size.dims, stride)
        if frozen_trunk:
            self.img_backbone.freeze()
            self.train(self.training)

    def train(self, mode: bool = True) -> VAD:
        """As usual, except that a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self.frozen_trunk:
            self.img_backbone.eval()
        return self

    def extract(self, images: Tensor) -> Tensor:
        """The image trunk, free of dropout; in training behind the grid.

        Args:
            images: (B, N, 3, H, W) normalized; as though zeros stood to the right and below, up to whole strides.

        Returns:
            (B, N, C, h, w).

        Raises:
            ValueError: not five axes, or another number of cameras.
        """
        cameras = len(self.pts_bbox_head.transformer.cams_embeds)
        if images.dim() != 5 or images.shape[1:3] != (cameras, 3):
            raise ValueError(f"images must be (B, {cameras}, 3, H, W), got {tuple(images.shape)}")
        images = self.grid_mask(images)
        features: Tensor = self.img_neck(*last_maps(self.img_backbone(images.flatten(0, 1)), self.img_neck))
        return features.view(*images.shape[:2], *features.shape[1:])

    def encode(self, features: Tensor, inputs: DrivingInputs, history: Tensor | None) -> Tensor:
        """Features (B, N, C, h, w) and the past (B, Q, C), or None, to the bird's-eye view (B, Q, C)."""
        return self.pts_bbox_head.encode(self.pts_bbox_head.surroundings(features, inputs, history, self.stride))

    def prepare(self, features: Tensor, inputs: DrivingInputs, history: Tensor | None = None) -> Drive:
        """`drive`, to be called again and again: what no dropout precedes is found once, now.

        Args:
            features: (B, N, C, h, w) as of `extract`.
            inputs: a batch; its images are not read.
            history: (B, Q, C) bird's-eye view of the previous frame as of `carry`; not looked at in samples that begin
                a scene. None where no sample has a past.
        """
        return self.pts_bbox_head.prepare(self.pts_bbox_head.surroundings(features, inputs, history, self.stride))

    def drive(self, features: Tensor, inputs: DrivingInputs, history: Tensor | None = None) -> DrivingPrediction:
        """Everything after the image trunk; random where dropout is active. Arguments as of `prepare`."""
        return self.prepare(features, inputs, history)()

    def forward(self, inputs: DrivingInputs, history: Tensor | None = None) -> DrivingPrediction:
        """`drive` on the features of the images."""
        return self.drive(self.extract(inputs.images), inputs, history)

    @torch.no_grad()
    def carry(self, inputs: DrivingInputs, history: Tensor | None = None) -> Tensor:
        """The bird's-eye view to carry to the next frame (B, Q, C): without dropout and gradient, in every mode."""
        with deterministic(self):
            return self.encode(self.extract(inputs.images), inputs, history)


def vad_tiny(
    agent_classes: int = 10,
    backbone_checkpoint: str | None = None,
    checkpoint: str | None = None,
    frozen_trunk: bool = True,
    grid_mask: float = 0.0,
) -> VAD:
    """Official VAD-tiny: ResNet-50, images of 384 x 640, 39.87 M parameters.

    Args:
        agent_classes: classes of agents.
        backbone_checkpoint: torchvision's ResNet-50, trained on ImageNet; official training starts from it, with images
            normalized by ``imagenet``.
        checkpoint: the whole network. Official ones expect the channel order and normalization that the module's
            docstring tells of, and have seen the labels of their own training set: if the pool is a part of that, they
            are labels of the pool.
        frozen_trunk: see `VAD`.
        grid_mask: see `VAD`; 0.7 in official training.

    Raises:
        ValueError: a frozen trunk without weights, for it would stay as it was drawn, or see `load_checkpoint`.
        DataFileError: see `load_checkpoint`.
    """
    if frozen_trunk and backbone_checkpoint is None and checkpoint is None:
        raise ValueError(
            "the stem and the norms of a frozen trunk learn nothing, so it must not start at random: give "
            "backbone_checkpoint (torchvision's ResNet-50) or checkpoint, or set frozen_trunk to false"
        )
    size = VADSize(agent_classes=agent_classes)
    network = VAD(OFFICIAL_GRID, ResNet(), size, frozen_trunk=frozen_trunk, grid_mask=grid_mask)
    if backbone_checkpoint is not None:
        load_backbone(network.img_backbone, backbone_checkpoint)
    if checkpoint is not None:
        load_checkpoint(network, checkpoint)
    return network


def vad_nano(agent_classes: int = 10) -> VAD:
    """The same network, small enough to train on two CPU cores: square cells of 1.2 m, a narrow ResNet-18."""
    return VAD(
        VoxelGrid(OFFICIAL_GRID.lower, OFFICIAL_GRID.upper, (25, 50, 4)),
        ResNet(block="basic", blocks=(2, 2, 2, 2), width=16),
        VADSize(
            dims=64,
            heads=4,
            hidden=128,
            encoder_layers=1,
            decoder_layers=1,
            agents=40,
            lines=20,
            agent_classes=agent_classes,
        ),
        stride=16,
        frozen_trunk=False,
        turning_point=None,
    )
