"""The page of samples as several runs predict them (`al_lightning.report.qualitative`).

Shape letters: R runs, X Y Z voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_lightning.data.pictures import montage, pictures_on_disk
from al_lightning.report import html_pictures
from al_lightning.report.html_colors import class_colors, css
from al_lightning.report.html_elements import NOTHING, Cells, Datum, Section, element, page, quantity, table, text
from al_lightning.report.html_gallery import small_figure, swatch
from al_lightning.report.tables_runs import ReportedRun
from al_lightning.tasks import OccupancyTask
from al_lightning.types import IGNORE, ActiveDataset

FIGURE = (
    "mIoU of a sample: the mean IoU over the classes that occur in its own truth, free space excepted, so that all "
    "runs are measured over the same classes; it is not the mIoU of the whole split. Counted and drawn are the voxels "
    "that count in the data set's loss and metrics (inside its visibility mask, and labeled); all others are left out "
    "of the truth and of every prediction alike. From above, every column shows its highest voxel that is not free; "
    "forward is up."
)


@dataclass(frozen=True)
class Contestant:
    """A run that is compared.

    Attributes:
        label: how the page calls it.
        run: its directory.
        cycle: whose network predicts.
        task: that network, ready to predict.
    """

    label: str
    run: ReportedRun
    cycle: int
    task: OccupancyTask


@dataclass(frozen=True)
class Comparison:
    """A sample as R runs predict it.

    Attributes:
        row: of the data set.
        truth: (X, Y, Z) true classes, `IGNORE` where a voxel does not count.
        predictions: R times (X, Y, Z), `IGNORE` in the same voxels.
        miou: R values of `sample_miou`.
    """

    row: int
    truth: NDArray[np.uint8]
    predictions: Sequence[NDArray[np.uint8]]
    miou: Sequence[float]

    @property
    def spread(self) -> float:
        """How far the runs lie apart: largest minus smallest mIoU; 0 where there is none."""
        return 0.0 if math.isnan(self.miou[0]) else max(self.miou) - min(self.miou)


def qualitative_page(
    dataset: ActiveDataset, contestants: Sequence[Contestant], compared: Sequence[Comparison], chosen: str
) -> str:
    """The samples with their cameras, truth and all predictions as HTML.

    Args:
        dataset: holds the samples.
        contestants: R runs.
        compared: what they predict.
        chosen: why these samples, plain text.
    """
    names = list(getattr(dataset, "class_names", ()))
    names += [f"class {k}" for k in range(len(names), IGNORE)]
    colors, free = class_colors(names), getattr(dataset, "free_class", None)
    seen = [[html_pictures.from_above(volume, free) for volume in (one.truth, *one.predictions)] for one in compared]
    present = [k for k in np.unique([top for tops in seen for top in tops]).tolist() if k != IGNORE]
    # One legend for all pictures, repeated beside the cameras of every sample.
    legend = element("ul", *(swatch(names[k], color=css(colors[k])) for k in present), class_="legend")
    sections = []
    for i, (one, tops) in enumerate(zip(compared, seen, strict=True)):
        figures = [f"mIoU {_percent(value)}" for value in one.miou]
        titles = ["Truth", *(contestant.label for contestant in contestants)]
        birds = [
            small_figure(f"sample-{i}-{j}", title, html_pictures.class_map(top, colors, f"{title} from above"), note)
            for j, (title, top, note) in enumerate(zip(titles, tops, ["labels", *figures], strict=True))
        ]
        cameras = element("div", _cameras(f"sample-{i}-cameras", dataset, one.row))
        body = element("article", cameras, legend, element("div", *birds, class_="birds"), class_="exhibit")
        unit = dataset.units[int(dataset.unit_of[one.row])]
        apart = f"; the runs lie {100 * one.spread:.2f} percentage points apart" if len(contestants) > 1 else ""
        sections.append(Section(f"sample-{i}", str(unit), body, f"Row {one.row}{apart}."))
    rows = [_run_row(contestant) for contestant in contestants]
    heads = ["", "run", "cycle", "labeled units", "mIoU of that cycle's validation, %"]
    sections.append(Section("runs", "Runs", table("Runs", heads, rows)))
    lead = f"Samples: {len(compared)}. Runs: {len(contestants)}. {chosen}"
    return page("Predictions side by side", lead, element("p", text(FIGURE), class_="note"), sections)


def _percent(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{100 * value:.2f} %"


def _cameras(key: str, dataset: ActiveDataset, row: int) -> str:
    files = pictures_on_disk(dataset, row)
    if not files:
        return element("p", "There are no camera pictures of this sample.", class_="absent")
    sheet = np.frombuffer(montage(list(files.values())), dtype=np.uint8)
    caption = " · ".join(camera.removeprefix("CAM_").replace("_", " ").lower() for camera in files)
    return small_figure(key, "Cameras", html_pictures.montage({"montage": sheet}, list(files)), caption)


def _run_row(contestant: Contestant) -> Cells:
    found = contestant.run.metrics.get(contestant.cycle, {})
    miou = Datum(f"{100 * found['mIoU']:.2f}", found["mIoU"]) if "mIoU" in found else quantity(None)
    labeled = Datum(f"{found['labeled']:.0f}", found["labeled"]) if "labeled" in found else quantity(None)
    where = str(contestant.run.path)
    return [contestant.label, where, Datum(str(contestant.cycle), contestant.cycle), labeled, miou]
