from pathlib import Path

from fake_semantickitti import write_semantickitti
from PIL import Image

from al_lightning.data import NuScenesDriving, Occ3DNuScenes, SemanticKITTI
from al_lightning.data.pictures import PicturedDataset
from al_lightning.types import VoxelGrid

VIEWS = ["CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"]


def test_six_cameras_of_a_keyframe(tiny_world: Path) -> None:
    grid = VoxelGrid((-40, -40, -1), (40, 40, 5.4), (50, 50, 8))
    frames = Occ3DNuScenes(str(tiny_world), grid, version="v1.0-sim", image_size=(32, 96))
    drives = NuScenesDriving(str(tiny_world), version="v1.0-sim", images=False, maps=False)
    for dataset in (frames, drives):
        assert isinstance(dataset, PicturedDataset)
        for row in (0, len(dataset) - 1):
            pictures = dataset.pictures(row)
            assert list(pictures) == VIEWS
            for name, file in pictures.items():
                assert name == file.parent.name
                assert Image.open(file).size == (160, 90)
    labels = [frames.paths(unit) for unit in range(len(frames))]
    assert [frames.pictures(row)["CAM_BACK"] for row in range(len(frames))] == [
        tiny_world / paths["CAM_BACK"] for paths in labels
    ]


def test_one_camera_of_a_frame(tmp_path: Path) -> None:
    write_semantickitti(tmp_path, {"00": 2}, seed=0)
    frames = SemanticKITTI(str(tmp_path), VoxelGrid((0, -25.6, -2), (51.2, 25.6, 4.4), (64, 64, 8)))
    for row, unit in enumerate(frames.units):
        (name, file), *more = frames.pictures(row).items()
        assert (name, file.stem, more) == ("image_2", unit.split("/")[1], [])
        assert file.is_file()
