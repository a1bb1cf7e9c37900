import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy

from al_lightning.engine import Devices


class Sharded(DDPStrategy):
    """As DeepSpeed's: a DDP strategy whose processes hold a part of the weights each."""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"devices": 1}, "1 process on cpu"),
        ({"devices": 2, "strategy": "ddp"}, "2 processes on cpu"),
        ({"devices": 2, "strategy": "ddp_find_unused_parameters_true"}, "2 processes on cpu"),
    ],
)
def test_one_device_and_plain_ddp_work(arguments, expected: str) -> None:
    assert str(Devices.of(Trainer(accelerator="cpu", logger=False, **arguments))) == expected


def test_a_sharding_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Sharded does not work.*trainer\.strategy"):
        Devices.of(Trainer(accelerator="cpu", devices=2, logger=False, strategy=Sharded()))
