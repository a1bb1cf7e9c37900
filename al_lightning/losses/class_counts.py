"""How many voxels of each class the training sets hold, as published; both lists include free (empty) space."""

OCC3D_NUSCENES_VOXELS: tuple[float, ...] = (
    *(944004, 1897170, 152386, 2391677, 16957802, 724139, 189027, 2074468, 413451),
    *(2384460, 5916653, 175883646, 4275424, 51393615, 61411620, 105975596, 116424404, 1892500630),
)
"""Occ3D-nuScenes, 18 classes from others to free (FlashOcc's `bev_occ_head`)."""

SEMANTICKITTI_VOXELS: tuple[float, ...] = (
    *(5417730330, 15783539, 125136, 118809, 646799, 821951, 262978, 283696, 204750, 61688703),
    *(4502961, 44883650, 2269923, 56840218, 15719652, 158442623, 2061623, 36970522, 1151988, 334146),
)
"""SemanticKITTI scene completion, 20 classes from empty to traffic sign (MonoScene, OccFormer)."""
