"""An mmdet3d detector as a network of this framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from al_lightning.detection import PADDING, Detections
from al_lightning.integrations.mmdet3d.configs import build_model, class_names, read_config
from al_lightning.integrations.mmdet3d.packed import PackedLabels, PackedSensors
from al_lightning.integrations.mmdet3d.weights import initialize, plain_records_allowed
from al_lightning.models.checkpoint import load_checkpoint


class MMDet3DDetector(nn.Module):
    """A detector of an mmdet3d configuration that predicts boxes in the LiDAR frame.

    Args:
        config: path of the configuration, or ``mmdet3d::<folder>/<file>.py`` for one that comes with mmdet3d.
        checkpoint: weights to start from; None for those that the configuration initializes with.
        options: changes to the configuration, nested (mmdet3d's ``--cfg-options``).

    Attributes:
        class_names: in the order of the labels.

    Raises:
        MissingLibraryError: mmdet3d is not installed.
        ValueError: the configuration cannot be read or built, or the checkpoint does not fit.
        DataFileError: the checkpoint cannot be read.
    """

    def __init__(self, config: str, checkpoint: str | None = None, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        content = read_config(config, options)
        self.class_names = class_names(content)
        self.detector = build_model(content.model, f"the model of {config}")
        if checkpoint is None:
            initialize(self.detector)
        else:
            with plain_records_allowed():
                load_checkpoint(self.detector, checkpoint)

    def losses(self, inputs: PackedSensors, annotations: PackedLabels) -> dict[str, Tensor]:
        """Weighted terms by their names; their sum is the loss."""
        terms = self._run(inputs, annotations.samples, "loss")
        scalars = self.detector.parse_losses(terms)[1]
        return {name: value for name, value in scalars.items() if "loss" in name and name != "loss"}

    def forward(self, inputs: PackedSensors) -> Detections:
        """Predict a batch.

        Raises:
            ValueError: the detector predicts other than boxes in the LiDAR frame.
        """
        from mmdet3d.structures import Det3DDataSample

        samples = [Det3DDataSample(metainfo=metainfo) for metainfo in inputs.metainfo]
        found = [sample.pred_instances_3d for sample in self._run(inputs, samples, "predict")]
        return Detections(
            *(
                pad_sequence(values, batch_first=True, padding_value=filling)
                for values, filling in (
                    ([_boxes(instances.bboxes_3d) for instances in found], 0.0),
                    ([instances.labels_3d.long() for instances in found], float(PADDING)),
                    ([instances.scores_3d.float() for instances in found], 0.0),
                )
            )
        )

    def _run(self, inputs: PackedSensors, samples: Sequence[Any], mode: str) -> Any:
        """The detector on its own preprocessing of a batch."""
        preprocessor = self.detector.data_preprocessor
        preprocessor.to(next(self.parameters()).device)  # it keeps a device of its own, which parents do not move
        keys = inputs.inputs[0]
        batch = {
            "inputs": {key: [frame[key] for frame in inputs.inputs] for key in keys},
            "data_samples": list(samples),
        }
        return self.detector(**preprocessor(batch, self.training), mode=mode)


def _boxes(boxes: Any) -> Tensor:
    """Boxes (M, 9) of mmdet3d's, whose centre is that of the bottom; velocity 0 where none is predicted."""
    from mmdet3d.structures import LiDARInstance3DBoxes

    if not isinstance(boxes, LiDARInstance3DBoxes):
        raise ValueError(f"the detector must predict boxes in the LiDAR frame, not {type(boxes).__name__}")
    rows: Tensor = boxes.tensor.detach().float()
    velocity = rows[:, 7:9] if rows.shape[1] >= 9 else rows.new_zeros(len(rows), 2)
    return torch.cat((boxes.gravity_center.detach().float(), rows[:, 3:7], velocity), dim=1)
