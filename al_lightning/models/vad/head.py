"""The part whose official prefix is ``pts_bbox_head``: everything after the image trunk.

Shape letters: B samples, N cameras, Q cells, C channels, L layers, A agents, V map elements, P their points.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from al_lightning.driving import Drive, DrivingInputs, DrivingPrediction, plan_alone
from al_lightning.models.vad.encoder import CellPositions, Surroundings
from al_lightning.models.vad.layers import classifier, regressor
from al_lightning.models.vad.planner import LINE_SCORE, MotionPlanner, nearest_to_corner
from al_lightning.models.vad.transformer import PerceptionTransformer, VADSize
from al_lightning.types import VoxelGrid

BOX_CODE = 10
LINE_CLASSES = 3


class VADHead(MotionPlanner):
    """Features of the images to agents, map and plan.

    Args:
        grid: cells of the bird's-eye view (x, y) and heights at which cameras are asked (z).
        size: sizes.
        cameras: N.
        turning_point: (column, row) about which the carried view is turned.
    """

    code_weights: Tensor
    map_code_weights: Tensor

    def __init__(self, grid: VoxelGrid, size: VADSize, cameras: int, turning_point: tuple[float, float]) -> None:
        super().__init__(size)
        self.grid = grid
        # Constants of the losses, which official checkpoints hold.
        self.register_buffer("code_weights", torch.tensor([1.0] * 8 + [0.2] * 2))
        self.register_buffer("map_code_weights", torch.ones(4))
        dims, layers = size.dims, size.decoder_layers
        X, Y, _ = grid.shape
        self.positional_encoding = CellPositions((Y, X), dims)
        self.transformer = PerceptionTransformer(grid, size, cameras, turning_point)
        self.cls_branches = nn.ModuleList(classifier(dims, size.agent_classes) for _ in range(layers))
        self.reg_branches = nn.ModuleList(regressor(dims, BOX_CODE) for _ in range(layers))
        self.traj_branches = nn.ModuleList([regressor(2 * dims, size.steps * 2)])
        self.traj_cls_branches = nn.ModuleList([classifier(2 * dims, 1)])
        self.map_cls_branches = nn.ModuleList(classifier(dims, LINE_CLASSES) for _ in range(layers))
        self.map_reg_branches = nn.ModuleList(regressor(dims, 2) for _ in range(layers))
        self.bev_embedding = nn.Embedding(X * Y, dims)
        self.query_embedding = nn.Embedding(size.agents, 2 * dims)
        self.map_instance_embedding = nn.Embedding(size.lines, 2 * dims)
        self.map_pts_embedding = nn.Embedding(size.line_points, 2 * dims)

    def surroundings(
        self, features: Tensor, inputs: DrivingInputs, history: Tensor | None, stride: int
    ) -> Surroundings:
        """What the encoder is given; arguments as of `PerceptionTransformer.surroundings`."""
        return self.transformer.surroundings(
            self.bev_embedding.weight, self.positional_encoding(), features, inputs, history, stride
        )

    def encode(self, around: Surroundings) -> Tensor:
        """Bird's-eye view (B, Q, C)."""
        encoder = self.transformer.encoder
        bev: Tensor = encoder(around, encoder.begin(around))
        return bev

    def prepare(self, around: Surroundings) -> Drive:
        """`forward`, to be called again and again: what no dropout precedes is found once, now."""
        transformer, lines = self.transformer, self._line_queries()
        begun = transformer.encoder.begin(around)
        first = transformer.decoder.begin(self.query_embedding.weight), transformer.map_decoder.begin(lines)
        return lambda plan_only=False: self(transformer.encoder(around, begun), *first, plan_only)

    def _line_queries(self) -> Tensor:
        return (self.map_instance_embedding.weight[:, None] + self.map_pts_embedding.weight).flatten(0, 1)

    def forward(
        self, bev: Tensor, agents: Tensor | None = None, elements: Tensor | None = None, plan_only: bool = False
    ) -> DrivingPrediction:
        """Bird's-eye view (B, Q, C), and what either decoder did `begin` with, to all predictions or the plan."""
        transformer, shape = self.transformer, self.transformer.shape
        agent_states, agent_codes = transformer.decoder(
            self.query_embedding.weight, bev, shape, transformer.reference_points, self.reg_branches, agents
        )
        line_states, lines = transformer.map_decoder(
            self._line_queries(), bev, shape, transformer.map_reference_points, self.map_reg_branches, elements
        )
        split = (*line_states.shape[:2], self.size.lines, self.size.line_points, -1)
        line_states, lines = line_states.view(split), lines.view(split)
        line_logits = _apply(self.map_cls_branches, line_states.mean(dim=3))
        # Positions guide attention, but attention does not teach positions.
        positions, line_positions = agent_codes[-1, ..., :2].detach(), nearest_to_corner(lines[-1].detach())
        lanes = self.lane_encoder(line_states[-1])
        shown = line_logits[-1].sigmoid().amax(dim=-1) > LINE_SCORE
        motion = self.motion_features(agent_states[-1], positions, lanes, line_positions, shown)
        plan = self.plan(motion, positions, lanes, line_positions)
        if plan_only:
            return plan_alone(plan)
        return DrivingPrediction(
            bev=bev,
            agent_logits=_apply(self.cls_branches, agent_states),
            agent_boxes=self._metres(agent_codes, axes=(0, 1, 4)),
            agent_futures=self.traj_branches[0](motion).float().unflatten(-1, (self.size.steps, 2)),
            agent_mode_logits=self.traj_cls_branches[0](motion).float().squeeze(-1),
            line_logits=line_logits,
            lines=self._metres(lines, axes=(0, 1)),
            plan=plan,
        )

    def _metres(self, codes: Tensor, axes: tuple[int, ...]) -> Tensor:
        lower, upper = (codes.new_tensor(bound[: len(axes)]) for bound in (self.grid.lower, self.grid.upper))
        out = codes.clone()
        out[..., axes] = codes[..., axes] * (upper - lower) + lower
        return out


def _apply(branches: nn.ModuleList, states: Tensor) -> Tensor:
    """Each layer's branch to its states (L, ...), float32."""
    return torch.stack([branch(state).float() for branch, state in zip(branches, states, strict=True)])
