"""The metrics as plain functions: count with one, score the summed counts with the other."""

from al_lightning.metrics.functional.agent_raster import agent_raster
from al_lightning.metrics.functional.occupancy import (
    CompletionScores,
    Occ3DScores,
    occ3d_miou,
    semantic_scene_completion,
    voxel_confusion,
)
from al_lightning.metrics.functional.planning import (
    box_collision,
    displacement_error,
    plan_collision,
    planning_scores,
)
from al_lightning.metrics.functional.rays import (
    RayCounts,
    RayHits,
    RayScores,
    cast_rays,
    lidar_directions,
    ray_counts,
    ray_iou,
    select_ray_origins,
)

__all__ = [
    "CompletionScores",
    "Occ3DScores",
    "RayCounts",
    "RayHits",
    "RayScores",
    "agent_raster",
    "box_collision",
    "cast_rays",
    "displacement_error",
    "lidar_directions",
    "occ3d_miou",
    "plan_collision",
    "planning_scores",
    "ray_counts",
    "ray_iou",
    "select_ray_origins",
    "semantic_scene_completion",
    "voxel_confusion",
]
