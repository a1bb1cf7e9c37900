"""The metrics as plain functions: count with one, score the summed counts with the other."""

from al_lightning.metrics.functional.agent_raster import (
    DETECTION_CLASSES,
    agent_footprints,
    agent_raster,
    in_planning_scope,
    road_users,
    road_users_by_index,
)
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
    "DETECTION_CLASSES",
    "CompletionScores",
    "Occ3DScores",
    "RayCounts",
    "RayHits",
    "RayScores",
    "agent_footprints",
    "agent_raster",
    "box_collision",
    "cast_rays",
    "displacement_error",
    "in_planning_scope",
    "lidar_directions",
    "occ3d_miou",
    "plan_collision",
    "planning_scores",
    "ray_counts",
    "ray_iou",
    "road_users",
    "road_users_by_index",
    "select_ray_origins",
    "semantic_scene_completion",
    "voxel_confusion",
]
