"""Agents, map and ego vehicle look at each other; out come the agents' futures and the ego vehicle's plan.

All positions are fractions of the bird's-eye view.

Shape letters: B samples, A agents, M modes, T steps, V map elements, P points of an element, C channels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from al_lightning.models.vad.deformable import initialize_projection
from al_lightning.models.vad.layers import Attention, InteractionLayer, Layers, regressor
from al_lightning.models.vad.linear import Linear
from al_lightning.models.vad.transformer import VADSize, xavier

COMMANDS = 3
LINE_SCORE = 0.5
"""Map elements that score lower are not shown to agents."""
LINE_DISTANCE = 0.2
"""Map elements farther away than this (fraction of the bird's-eye view) are not shown to an agent."""


class Interaction(Layers):
    """One layer in which queries of one kind look at keys of another.

    Args:
        size: sizes.
    """

    def __init__(self, size: VADSize) -> None:
        super().__init__([InteractionLayer(size.dims, size.heads, size.hidden, size.dropout)])
        xavier(self)

    @property
    def _attention(self) -> Attention:
        return cast(Attention, cast(InteractionLayer, self.layers[0]).attentions[0])

    def forward(self, query: Tensor, key: Tensor, query_pos: Tensor, key_pos: Tensor) -> Tensor:
        """Arguments and result as of `Attention.forward`."""
        out: Tensor = self.layers[0](query, self._attention.read(query, key, query_pos, key_pos))
        return out

    def look_around(
        self, query: Tensor, key: Tensor, query_pos: Tensor, places: Tensor, codes: nn.Linear, ignored: Tensor
    ) -> Tensor:
        """Arguments and result as of `Attention.read_places`."""
        out: Tensor = self.layers[0](query, self._attention.read_places(query, key, query_pos, places, codes, ignored))
        return out


class _PointLayer(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU())

    def forward(self, points: Tensor) -> Tensor:
        points = self.mlp(points)
        return torch.cat((points, points.amax(dim=-2, keepdim=True).expand_as(points)), dim=-1)


class LaneEncoder(nn.Module):
    """The points of a map element to one vector (VectorNet): layers that append the maximum over the points.

    Args:
        dims: C, even.
        layers: number of layers.
    """

    def __init__(self, dims: int, layers: int = 3) -> None:
        super().__init__()
        self.layer_seq = nn.Sequential()
        for index in range(layers):
            self.layer_seq.add_module(f"lmlp_{index}", _PointLayer(dims, dims // 2))
        xavier(self)

    def forward(self, points: Tensor) -> Tensor:
        """(B, V, P, C) to (B, V, C)."""
        out: Tensor = self.layer_seq(points).amax(dim=-2)
        return out


def nearest_to_corner(lines: Tensor) -> Tensor:
    """The point (B, V, 2) that stands for a map element (B, V, P, 2).

    TRAP: nearest to the origin of the normalized system, a corner of the bird's-eye view, not to the ego vehicle.
    """
    nearest = torch.sqrt(lines.square().sum(dim=-1)).argmin(dim=-1)
    return lines.gather(2, nearest[..., None, None].expand(-1, -1, 1, 2)).squeeze(2)


class MotionPlanner(nn.Module):
    """What the head holds beyond perception.

    Args:
        size: sizes.
    """

    def __init__(self, size: VADSize) -> None:
        super().__init__()
        dims = size.dims
        self.size = size
        self.motion_decoder = Interaction(size)
        self.motion_mode_query = nn.Embedding(size.modes, dims)
        nn.init.orthogonal_(self.motion_mode_query.weight)
        self.pos_mlp_sa = nn.Linear(2, dims)
        self.lane_encoder = LaneEncoder(dims)
        self.motion_map_decoder = Interaction(size)
        self.pos_mlp = nn.Linear(2, dims)
        initialize_projection(self.pos_mlp_sa)
        initialize_projection(self.pos_mlp)
        self.ego_query = nn.Embedding(1, dims)
        self.ego_agent_decoder = Interaction(size)
        self.ego_agent_pos_mlp = nn.Linear(2, dims)
        self.ego_map_decoder = Interaction(size)
        self.ego_map_pos_mlp = nn.Linear(2, dims)
        self.ego_fut_decoder = regressor(2 * dims, COMMANDS * size.steps * 2)
        self.agent_fus_mlp = nn.Sequential(
            Linear(2 * size.modes * dims, dims), nn.LayerNorm(dims), nn.ReLU(), Linear(dims, dims)
        )

    def motion_features(
        self, agents: Tensor, positions: Tensor, lanes: Tensor, lane_positions: Tensor, shown: Tensor
    ) -> Tensor:
        """What every mode of every agent makes of the others and of the map.

        Args:
            agents: (B, A, C) states of the agent queries.
            positions: (B, A, 2) of the agents.
            lanes: (B, V, C) vectors of the map elements.
            lane_positions: (B, V, 2).
            shown: (B, V) bool, map elements that are certain enough.

        Returns:
            (B, A, M, 2 C): first after the look at each other, then after the look at the map.
        """
        B, A, C = agents.shape
        tokens = (agents[:, :, None] + self.motion_mode_query.weight).flatten(1, 2)
        codes = self.pos_mlp_sa(positions).repeat_interleave(self.size.modes, dim=1)
        tokens = self.motion_decoder(tokens, tokens, codes, codes).view(B * A, self.size.modes, C)
        # Every agent looks at the map from where it is; its modes share the keys. The last key is a spare one that
        # all may see: zeros at (1, 1).
        relative = lane_positions[:, None] - positions[:, :, None]  # (B, A, V, 2)
        far = relative.square().sum(dim=-1).sqrt() > LINE_DISTANCE
        ignored = nn.functional.pad(far | ~shown[:, None], (0, 1), value=False).flatten(0, 1)
        places = nn.functional.pad(relative, (0, 0, 0, 1), value=1.0).flatten(0, 1)
        keys = nn.functional.pad(lanes, (0, 0, 0, 1))
        here = self.pos_mlp(positions.new_zeros(2)).expand_as(tokens)
        informed = self.motion_map_decoder.look_around(tokens, keys, here, places, self.pos_mlp, ignored)
        return torch.cat((tokens, informed), dim=-1).view(B, A, self.size.modes, 2 * C)

    def plan(self, motion: Tensor, positions: Tensor, lanes: Tensor, lane_positions: Tensor) -> Tensor:
        """Displacements of the ego vehicle.

        TRAP: the ego vehicle is placed at (0, 0), a corner of the bird's-eye view, though it drives at its middle.

        Args:
            motion: (B, A, M, 2 C) as of `motion_features`.
            positions: (B, A, 2) of the agents.
            lanes: (B, V, C) vectors of the map elements.
            lane_positions: (B, V, 2).

        Returns:
            (B, 3, T, 2) metres for each command and step.
        """
        B = len(motion)
        agents = self.agent_fus_mlp(motion.flatten(2))
        query = self.ego_query.weight.expand(B, -1, -1)
        here = positions.new_zeros(B, 1, 2)
        with_agents = self.ego_agent_decoder(
            query, agents, self.ego_agent_pos_mlp(here), self.ego_agent_pos_mlp(positions)
        )
        with_map = self.ego_map_decoder(
            with_agents, lanes, self.ego_map_pos_mlp(here), self.ego_map_pos_mlp(lane_positions)
        )
        displacements: Tensor = self.ego_fut_decoder(torch.cat((with_agents, with_map), dim=-1)).float()
        return displacements.view(B, COMMANDS, self.size.steps, 2)
