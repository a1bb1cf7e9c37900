"""Cameras to a bird's-eye view, and the bird's-eye view to agents and map elements.

Shape letters: B samples, N cameras, Y X and Q = Y * X cells, C channels, D queries, H W feature pixels, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from al_lightning.driving import DrivingInputs
from al_lightning.models.eager import eager
from al_lightning.models.vad.bev_attention import CameraAttention, SpatialCrossAttention, TemporalSelfAttention
from al_lightning.models.vad.deformable import DeformableAttention, initialize_projection
from al_lightning.models.vad.ego_motion import shift_since_previous, turn
from al_lightning.models.vad.encoder import BEVEncoder, Surroundings
from al_lightning.models.vad.layers import Attention, DecoderLayer, Layers
from al_lightning.models.vad.projection import camera_view, cell_locations, cell_points
from al_lightning.types import VoxelGrid

CAN_BUS = 18
_ATTENTIONS = (TemporalSelfAttention, SpatialCrossAttention, CameraAttention, DeformableAttention)
_LEVELS = 4  # rows of ``level_embeds`` in official checkpoints; VAD-tiny uses the first


@dataclass(frozen=True)
class VADSize:
    """Sizes of the network after the image trunk; the defaults are VAD-tiny.

    Attributes:
        dims: channels, a multiple of twice ``heads``.
        heads: attention heads.
        hidden: channels inside feed-forward blocks.
        encoder_layers: layers of the bird's-eye-view encoder.
        decoder_layers: layers of either decoder.
        agents: agent queries.
        lines: map element queries.
        line_points: points of a map element.
        agent_classes: classes of agents.
        modes: futures of an agent.
        steps: steps of a future and of the plan, 0.5 s each.
        dropout: probability, everywhere.
    """

    dims: int = 256
    heads: int = 8
    hidden: int = 512
    encoder_layers: int = 3
    decoder_layers: int = 3
    agents: int = 300
    lines: int = 100
    line_points: int = 20
    agent_classes: int = 10
    modes: int = 6
    steps: int = 6
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what attention cannot divide."""
        if self.dims % (2 * self.heads):
            raise ValueError(f"dims must be a multiple of twice the heads, got {self.dims} and {self.heads}")


class RefiningDecoder(Layers):
    """Decoder whose queries move their reference points from layer to layer.

    Args:
        size: sizes.
        axes: which outputs of the regression branches move the reference point.
    """

    def __init__(self, size: VADSize, axes: tuple[int, ...]) -> None:
        super().__init__(
            [DecoderLayer(size.dims, size.heads, size.hidden, size.dropout) for _ in range(size.decoder_layers)]
        )
        self.axes = axes

    def begin(self, embedding: Tensor) -> Tensor | None:
        """What the queries (D, 2 C) first read of each other (1, D, C); None if that is random."""
        query_pos, query = embedding[None].chunk(2, dim=-1)
        attention = cast(Attention, cast(DecoderLayer, self.layers[0]).attentions[0])
        return None if attention.attn.training else attention.read(query, query, query_pos, query_pos)

    def forward(
        self,
        embedding: Tensor,
        bev: Tensor,
        shape: tuple[int, int],
        initial: nn.Module,
        branches: Iterable[nn.Module],
        begun: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            embedding: (D, 2 C) positional part and content of the queries.
            bev: (B, Q, C).
            shape: (Y, X).
            initial: layer that turns positional parts into reference points.
            branches: regression branch of each layer.
            begun: as of `begin`, which may have come when nothing was random; None to find it here.

        Returns:
            States (L, B, D, C) and raw regressions (L, B, D, outputs) of all layers, in which the values of ``axes``
            are the new reference points in (0, 1). They are cut from the gradient only as the next layer's input.
        """
        query_pos, query = embedding.expand(len(bev), -1, -1).chunk(2, dim=-1)
        reference: Tensor = initial(query_pos).sigmoid()
        states, outputs = [], []
        for layer, branch in zip(self.layers, branches, strict=True):
            query = layer(query, query_pos, bev, shape, reference[..., :2], begun)
            begun = None
            raw = branch(query).float()
            moved = (raw[..., self.axes] + inverse_sigmoid(reference)).sigmoid()
            states.append(query)
            outputs.append(_replace(raw, self.axes, moved))
            reference = moved.detach()
        return torch.stack(states), torch.stack(outputs)


class PerceptionTransformer(nn.Module):
    """The part whose official prefix is ``pts_bbox_head.transformer``.

    Args:
        grid: cells, and heights at which cameras are asked.
        size: sizes.
        cameras: N.
        turning_point: (column, row) about which the carried view is turned, see `turn`.
    """

    def __init__(self, grid: VoxelGrid, size: VADSize, cameras: int, turning_point: tuple[float, float]) -> None:
        super().__init__()
        self.grid, self.turning_point = grid, turning_point
        self.shape = (grid.shape[1], grid.shape[0])
        self.level_embeds = nn.Parameter(torch.empty(_LEVELS, size.dims))
        self.cams_embeds = nn.Parameter(torch.empty(cameras, size.dims))
        self.encoder = BEVEncoder(size.encoder_layers, size.dims, size.heads, size.hidden, size.dropout)
        self.decoder = RefiningDecoder(size, axes=(0, 1, 4))
        self.map_decoder = RefiningDecoder(size, axes=(0, 1))
        self.reference_points = nn.Linear(size.dims, 3)
        self.map_reference_points = nn.Linear(size.dims, 2)
        self.can_bus_mlp = nn.Sequential(
            nn.Linear(CAN_BUS, size.dims // 2),
            nn.ReLU(inplace=True),
            nn.Linear(size.dims // 2, size.dims),
            nn.ReLU(inplace=True),
        )
        self.can_bus_mlp.add_module("norm", nn.LayerNorm(size.dims))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Official initialization: Xavier for all matrices, then what attentions and reference points want."""
        xavier(self)
        for module in self.modules():
            if isinstance(module, _ATTENTIONS):
                module.reset_parameters()
        nn.init.normal_(self.level_embeds)
        nn.init.normal_(self.cams_embeds)
        initialize_projection(self.reference_points)
        initialize_projection(self.map_reference_points)

    def surroundings(
        self,
        cells: Tensor,
        positions: Tensor,
        features: Tensor,
        inputs: DrivingInputs,
        history: Tensor | None,
        stride: int,
    ) -> Surroundings:
        """Cameras and the past as the encoder wants them.

        TRAP: the way since the previous frame moves the locations read in the current query, too, not only those in
        the previous view.

        Args:
            cells: (Q, C) embedding of the cells.
            positions: (Q, C) codes of the cells.
            features: (B, N, C, H, W) of the images.
            inputs: a batch; its images are not read.
            history: (B, Q, C) the previous bird's-eye view, or None.
            stride: image pixels per feature pixel.
        """
        H, W = features.shape[-2:]
        tokens = features.flatten(3).mT + self.cams_embeds[:, None] + self.level_embeds[0]
        view = camera_view(cell_points(self.grid, cells.device), inputs.lidar2img, (H * stride, W * stride))
        low, high = self.grid.lower, self.grid.upper
        shift = shift_since_previous(inputs.can_bus, (high[0] - low[0], high[1] - low[1]))
        reference = cell_locations(self.shape, cells.device) + shift[:, None]
        query = cells + self.can_bus_mlp(inputs.can_bus.float())[:, None]
        past, (history, no_past) = None, _carried(history, inputs.new_scene)
        if history is not None:
            past = torch.stack((turn(history, self.shape, inputs.can_bus[:, 17], self.turning_point), query), dim=1)
        return Surroundings(query, positions, self.shape, reference, past, no_past, tokens, (H, W), view)


@eager
def _carried(history: Tensor | None, new_scene: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What is carried, None if all samples begin a scene; and which do so, None if all or none."""
    if history is None or bool(new_scene.all()):
        return None, None
    return history, new_scene if bool(new_scene.any()) else None


def xavier(module: nn.Module) -> None:
    """Xavier-uniform for every parameter with more than one axis."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Log odds of numbers in [0, 1], which are kept ``eps`` away from both ends."""
    x = x.clamp(min=0, max=1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def _replace(raw: Tensor, axes: tuple[int, ...], values: Tensor) -> Tensor:
    out = raw.clone()
    out[..., axes] = values
    return out
