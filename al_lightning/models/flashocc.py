"""FlashOcc (arXiv 2311.12058): occupancy from cameras through a bird's-eye view, without 3D convolutions.

Parameter names and arithmetic are those of the official code, so its checkpoints load. They expect images in RGB order
whose channels were swapped once before normalization; that swap belongs to the dataset.

Shape letters: B samples, N cameras, H W pixels, K classes, C channels, X Y Z voxels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from al_lightning.models.bev_encoder import STRIDE as BEV_STRIDE
from al_lightning.models.bev_encoder import BEVBackbone, BEVNeck
from al_lightning.models.checkpoint import load_backbone, load_checkpoint
from al_lightning.models.image_neck import ImageNeck
from al_lightning.models.image_trunk import ImageMerger, ImageTrunk, check_fit, last_maps
from al_lightning.models.resnet import ResNet
from al_lightning.models.view_transform import LiftSplat
from al_lightning.types import CameraInputs, OccupancyPrediction, VoxelGrid

IMAGE_STRIDE = 16
"""Image pixels per pixel of the third ResNet stage, where features are lifted."""


class OccupancyHead(nn.Module):
    """Channels to heights: every cell's features become the logits of its whole column (official `BEVOCCHead2D`).

    Args:
        channels: C, channels of the bird's-eye view.
        heights: Z, voxels of a column.
        num_classes: K.
    """

    def __init__(self, channels: int, heights: int, num_classes: int) -> None:
        super().__init__()
        self.column = (heights, num_classes)
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.constant_(conv.bias, 0.0)  # type: ignore[arg-type]
        # TRAP: the convolution is followed by a ReLU, the silent default of the official ConvModule.
        self.final_conv = nn.Sequential(OrderedDict(conv=conv, activate=nn.ReLU(inplace=True)))
        self.predicter = nn.Sequential(  # the checkpoints' spelling
            nn.Linear(channels, 2 * channels), nn.Softplus(), nn.Linear(2 * channels, heights * num_classes)
        )

    def forward(self, bev: Tensor) -> Tensor:
        """(B, C, Y, X) to logits (B, K, X, Y, Z), a view of a contiguous (B, X, Y, Z, K)."""
        # TRAP: rows of a bird's-eye view are y, occupancy is indexed x first.
        columns = self.final_conv(bev).permute(0, 3, 2, 1)
        # TRAP: height is the slower of the two in the output channels (z * K + k).
        logits: Tensor = self.predicter(columns)
        return logits.view(*columns.shape[:3], *self.column).permute(0, 4, 1, 2, 3)


class FlashOcc(nn.Module):
    """Cameras to semantic occupancy. `flashocc_r50`, `flashocc_m0` and `flashocc_nano` name useful sizes.

    Holds no dropout. Any number of cameras, which share all weights.

    Args:
        grid: the voxels to predict; X and Y must be multiples of 8.
        backbone: image trunk.
        num_classes: K, free space included.
        image_size: (H, W) of the network's input, pixels; multiples of 16.
        depth: (start, stop, step) of the depth bins, metres.
        neck_channels: channels of the image features.
        context_channels: channels of the pooled bird's-eye view; its encoder has 2, 4 and 8 times as many.
        bev_channels: channels of the encoded bird's-eye view, the head's input.
        neck: makes the image features, at stride 16; None for the official one over the backbone's last two maps.

    Raises:
        ValueError: sizes that the network's strides do not divide, no class, a bad depth range, or a neck that does not
            fit.
    """

    def __init__(
        self,
        grid: VoxelGrid,
        backbone: ImageTrunk,
        num_classes: int = 18,
        image_size: tuple[int, int] = (256, 704),
        depth: tuple[float, float, float] = (1.0, 45.0, 0.5),
        neck_channels: int = 256,
        context_channels: int = 64,
        bev_channels: int = 256,
        neck: ImageMerger | None = None,
    ) -> None:
        super().__init__()
        X, Y, Z = grid.shape
        _require_multiples("grid.shape (x, y)", (X, Y), BEV_STRIDE)
        _require_multiples("image_size (height, width)", image_size, IMAGE_STRIDE)
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, got {num_classes}")
        height, width = image_size
        self.image_size = (height, width)
        flat = VoxelGrid(grid.lower, grid.upper, (X, Y, 1))
        self.img_backbone = backbone
        self.img_neck = neck or ImageNeck(backbone.out_channels[-2:], neck_channels)
        check_fit(backbone, self.img_neck, neck_channels, IMAGE_STRIDE)
        self.img_view_transformer = LiftSplat(
            neck_channels, context_channels, flat, self.image_size, IMAGE_STRIDE, depth
        )
        self.img_bev_encoder_backbone = BEVBackbone(context_channels)
        self.img_bev_encoder_neck = BEVNeck(2 * context_channels, 8 * context_channels, bev_channels)
        self.occ_head = OccupancyHead(bev_channels, Z, num_classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a tenth faster than channels first

    def forward(self, inputs: CameraInputs) -> OccupancyPrediction:
        """Predict a batch.

        Args:
            inputs: a batch of B samples with N cameras.

        Returns:
            logits (B, K, X, Y, Z) and, as features, the head's input (B, bev_channels, Y, X).

        Raises:
            ValueError: the images are not (B, N, 3, H, W) of ``image_size``, or the calibration is broken.
        """
        images = inputs.images
        if images.dim() != 5 or images.shape[2:] != (3, *self.image_size):
            expected = f"(B, N, 3, {self.image_size[0]}, {self.image_size[1]})"
            raise ValueError(f"images must be {expected}, got {tuple(images.shape)}")
        features = self.img_neck(*last_maps(self.img_backbone(images.flatten(0, 1)), self.img_neck))
        bev = self.img_view_transformer(features.view(*images.shape[:2], *features.shape[1:]), inputs)
        fine, _, coarse = self.img_bev_encoder_backbone(bev)
        bev = self.img_bev_encoder_neck(fine, coarse)
        return OccupancyPrediction(logits=self.occ_head(bev), features=bev)


def flashocc_r50(
    grid: VoxelGrid,
    num_classes: int = 18,
    image_size: tuple[int, int] = (256, 704),
    depth: tuple[float, float, float] = (1.0, 45.0, 0.5),
    backbone_checkpoint: str | None = None,
    pretrained: str | None = None,
    checkpoint: str | None = None,
) -> FlashOcc:
    """Official ``flashocc-r50`` (M1): ResNet-50, 44.74 M parameters with Occ3D's grid and classes.

    Three files of weights may be given to start from, loaded one over the other. Official ones expect the channel order
    that the module's docstring tells of.

    Args:
        grid: of the prediction.
        num_classes: with the free one.
        image_size: height and width, pixels.
        depth: nearest, farthest and step of the depth bins, metres.
        backbone_checkpoint: torchvision's ResNet-50, trained on ImageNet.
        pretrained: taken over as far as it fits; a warning lists the rest. Official training starts from BEVDet's
            ``bevdet-r50-cbgs.pth``, a detector without occupancy head and with other depth bins.
        checkpoint: the whole network. One trained on occupancy has seen labels, those of its own training set: if the
            pool is a part of that, they are labels of the pool.
    """
    network = FlashOcc(grid, ResNet(), num_classes, image_size, depth)
    return _loaded(network, backbone_checkpoint, pretrained, checkpoint)


def flashocc_m0(
    grid: VoxelGrid,
    num_classes: int = 18,
    image_size: tuple[int, int] = (256, 704),
    depth: tuple[float, float, float] = (1.0, 45.0, 1.0),
    backbone_checkpoint: str | None = None,
    pretrained: str | None = None,
    checkpoint: str | None = None,
) -> FlashOcc:
    """Official ``flashocc-r50-M0``: twice the depth step, half the head's channels, 39.94 M parameters.

    The arguments are those of `flashocc_r50`.
    """
    network = FlashOcc(grid, ResNet(), num_classes, image_size, depth, bev_channels=128)
    return _loaded(network, backbone_checkpoint, pretrained, checkpoint)


def flashocc_nano(
    grid: VoxelGrid,
    num_classes: int = 18,
    image_size: tuple[int, int] = (192, 608),
    depth: tuple[float, float, float] = (2.0, 54.0, 1.0),
) -> FlashOcc:
    """The same network, small enough to train on two CPU cores: a narrow ResNet-18 and few channels everywhere."""
    return FlashOcc(
        grid,
        ResNet(block="basic", blocks=(2, 2, 2, 2), width=16),
        num_classes,
        image_size,
        depth,
        neck_channels=64,
        context_channels=32,
        bev_channels=64,
    )


def _loaded(
    network: FlashOcc, backbone_checkpoint: str | None, pretrained: str | None, checkpoint: str | None
) -> FlashOcc:
    if backbone_checkpoint is not None:
        load_backbone(network.img_backbone, backbone_checkpoint)
    if pretrained is not None:
        load_checkpoint(network, pretrained, strict=False)
    if checkpoint is not None:
        load_checkpoint(network, checkpoint)
    return network


def _require_multiples(name: str, values: Sequence[int], divisor: int) -> None:
    if any(value < divisor or value % divisor for value in values):
        raise ValueError(f"{name} must be multiples of {divisor}, got {tuple(values)}")
