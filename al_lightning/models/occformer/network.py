"""OccFormer (arXiv 2304.05316): cameras to semantic occupancy by masks, as trained on SemanticKITTI.

Parameter names and arithmetic are those of the official code, so its checkpoints load. They expect RGB images
normalized by ImageNet's mean and deviation.

Shape letters: B samples, N cameras, H W pixels, h w feature pixels, K classes, C channels, X Y Z voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from al_lightning.models.checkpoint import load_checkpoint
from al_lightning.models.occformer.dual_path import HEAD_CHANNELS, DualPathEncoder
from al_lightning.models.occformer.efficientnet import EfficientNet, Run
from al_lightning.models.occformer.head import MaskHead, log_distribution, voxel_scores
from al_lightning.models.occformer.neck import STRIDE, PyramidNeck
from al_lightning.models.occformer.pixel_decoder import PixelDecoder
from al_lightning.models.occformer.volume import VoxelLift
from al_lightning.types import CameraInputs, OccupancyPrediction, VoxelGrid


@dataclass(frozen=True)
class OccFormerSize:
    """Sizes of everything after the image trunk; the defaults are the official ones.

    Attributes:
        neck: channels that each image level contributes; five times as many leave the neck and fill the depth network.
        encoder: channels of the four stages of the encoder, multiples of 32; the first are those of the lifted volume.
        coarsening: voxels of the labels along the edges (x, y, z) of a voxel of the volume and the masks.
        dims: channels of pixel decoder and queries, a multiple of 6 and of both numbers of heads.
        sampling_heads: heads of the deformable attention.
        heads: heads of the queries' attention.
        sampling_layers: layers of the pixel decoder.
        layers: layers of the mask decoder.
        queries: number of masks.
    """

    neck: int = 128
    encoder: tuple[int, int, int, int] = (128, 256, 512, 1024)
    coarsening: tuple[int, int, int] = (2, 2, 2)
    dims: int = 192
    sampling_heads: int = 8
    heads: int = 6
    sampling_layers: int = 6
    layers: int = 9
    queries: int = 100


class OccFormer(nn.Module):
    """Cameras to semantic occupancy. `occformer_kitti` and `occformer_nano` name useful sizes.

    Training needs more than one image at a time (``least_images``), see `DepthNet`.

    Args:
        grid: the voxels to predict.
        backbone: image trunk.
        num_classes: K, empty space included.
        image_size: (H, W) of the network's input, pixels; multiples of 32.
        depth: (start, stop, step) of the depth bins, metres.
        size: sizes of everything else.

    Raises:
        ValueError: sizes that do not fit together, no class, or a bad depth range.
    """

    least_images = 2

    def __init__(
        self,
        grid: VoxelGrid,
        backbone: EfficientNet,
        num_classes: int = 20,
        image_size: tuple[int, int] = (384, 1280),
        depth: tuple[float, float, float] = (2.0, 58.0, 0.5),
        size: OccFormerSize | None = None,
    ) -> None:
        super().__init__()
        size = OccFormerSize() if size is None else size
        height, width = image_size
        if any(value < 32 or value % 32 for value in image_size):
            raise ValueError(f"image_size (height, width) must be multiples of 32, got {tuple(image_size)}")
        if any(count % factor for count, factor in zip(grid.shape, size.coarsening, strict=True)):
            raise ValueError(f"the coarsening {size.coarsening} does not divide the grid's shape {grid.shape}")
        if any(channels % HEAD_CHANNELS for channels in size.encoder):
            raise ValueError(f"channels of the encoder must be multiples of {HEAD_CHANNELS}, got {size.encoder}")
        if any(size.dims % divisor for divisor in (6, size.heads, size.sampling_heads)):
            raise ValueError(f"dims must be a multiple of 6 and of both numbers of heads, got {size.dims}")
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, got {num_classes}")
        X, Y, Z = (count // factor for count, factor in zip(grid.shape, size.coarsening, strict=True))
        volume = VoxelGrid(grid.lower, grid.upper, (X, Y, Z))
        self.grid, self.image_size = grid, (height, width)
        self.img_backbone = backbone
        self.img_neck = PyramidNeck(backbone.out_channels, size.neck)
        image_channels = 5 * size.neck
        self.img_view_transformer = VoxelLift(
            image_channels, image_channels, size.encoder[0], volume, self.image_size, STRIDE, depth
        )
        self.img_bev_encoder_backbone = DualPathEncoder(size.encoder)
        self.img_bev_encoder_neck = PixelDecoder(
            size.encoder, size.dims, size.sampling_heads, 4 * size.dims, size.sampling_layers
        )
        self.pts_bbox_head = MaskHead(num_classes, size.queries, size.dims, size.heads, 8 * size.dims, size.layers)

    def extract(self, images: Tensor) -> Tensor:
        """Images (B, N, 3, H, W) to features (B, N, C, h, w).

        Raises:
            ValueError: the images do not have ``image_size``.
        """
        if images.dim() != 5 or images.shape[2:] != (3, *self.image_size):
            expected = f"(B, N, 3, {self.image_size[0]}, {self.image_size[1]})"
            raise ValueError(f"images must be {expected}, got {tuple(images.shape)}")
        features: Tensor = self.img_neck(self.img_backbone(images.flatten(0, 1)))
        return features.view(*images.shape[:2], *features.shape[1:])

    def forward(self, inputs: CameraInputs) -> OccupancyPrediction:
        """Predict a batch.

        Args:
            inputs: a batch of B samples with N cameras.

        Returns:
            ``masks`` and ``depth``. In evaluation mode also logits (B, K, X, Y, Z), which are logarithms of the
            normalized `voxel_scores`, and as features (B, C, Y', X') the mean over the height of what the masks are
            made of. No loss reads these two, so in training mode they are left out: logits has no voxel.

        Raises:
            ValueError: the images do not have ``image_size``, or the calibration is broken.
        """
        volume, depth = self.img_view_transformer(self.extract(inputs.images), inputs)
        mask_features, memories = self.img_bev_encoder_neck(self.img_bev_encoder_backbone(volume))
        masks = self.pts_bbox_head(mask_features, memories)
        if self.training:
            none = volume.new_empty(len(volume), masks.class_logits.shape[-1] - 1, 0, 0, 0)
            return OccupancyPrediction(logits=none, masks=masks, depth=depth)
        scores = voxel_scores(masks.class_logits[-1], masks.mask_logits[-1], self.grid.shape)
        features = mask_features.mean(dim=-1).transpose(2, 3)
        return OccupancyPrediction(logits=log_distribution(scores), features=features, masks=masks, depth=depth)


def occformer_kitti(
    grid: VoxelGrid,
    num_classes: int = 20,
    image_size: tuple[int, int] = (384, 1280),
    depth: tuple[float, float, float] = (2.0, 58.0, 0.5),
    checkpoint: str | None = None,
    backbone_checkpoint: str | None = None,
) -> OccFormer:
    """Official OccFormer for SemanticKITTI: EfficientNet-B7, 203.33 M parameters.

    ``checkpoint`` is a file of weights of the whole network to start from, ``backbone_checkpoint`` one of a classifier
    with this trunk, in mmcls's names; official training starts from the one trained on ImageNet.
    """
    network = OccFormer(grid, EfficientNet(), num_classes, image_size, depth)
    if backbone_checkpoint is not None:
        load_checkpoint(network.img_backbone, backbone_checkpoint, prefix="backbone.")
    if checkpoint is not None:
        load_checkpoint(network, checkpoint)
    return network


def occformer_nano(
    grid: VoxelGrid,
    num_classes: int = 20,
    image_size: tuple[int, int] = (96, 320),
    depth: tuple[float, float, float] = (2.0, 54.0, 1.0),
) -> OccFormer:
    """The same network, small enough to train on two CPU cores: one narrow block for each of the trunk's layers."""
    runs = ((Run(1, 3, 1, 8),), (Run(1, 3, 2, 16),), (Run(1, 5, 2, 24),), (Run(1, 3, 2, 32),), (Run(1, 5, 2, 48),))
    size = OccFormerSize(
        neck=16,
        encoder=(32, 32, 64, 64),
        coarsening=(2, 2, 1),
        dims=48,
        sampling_heads=4,
        heads=4,
        sampling_layers=1,
        layers=3,
        queries=30,
    )
    return OccFormer(grid, EfficientNet(runs, stem=16, last=64), num_classes, image_size, depth, size)
