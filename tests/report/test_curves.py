import re

import pytest

from al_lightning.report import learning_curve

ROWS = [
    {"cycle": 0, "labeled": 10, "share": 0.1, "mIoU": 0.125, "majority/mIoU": 0.1, "IoU/car": 0.3},
    {"cycle": 1, "labeled": 20, "share": 0.2, "mIoU": 0.25, "majority/mIoU": 0.1, "night/mIoU": 0.2},
]


def test_it_holds_every_variant_of_the_headline_and_nothing_else() -> None:
    svg = learning_curve(ROWS)
    for name in ("mIoU", "majority/mIoU", "night/mIoU"):
        assert f">{name}<" in svg
    assert "IoU/car" not in svg
    assert ">mIoU in %<" in svg
    assert ">25<" in svg
    assert svg.startswith("<?xml")
    assert learning_curve(ROWS) == svg


def test_it_rises_where_the_metric_rises() -> None:
    def heights(last: float) -> set[str]:
        return set(re.findall(r"[ML] [\d.]+ ([\d.]+)", learning_curve([ROWS[0], ROWS[1] | {"mIoU": last}])))

    assert heights(0.25) != heights(0.3)


@pytest.mark.parametrize("rows", [[], [{"cycle": 0, "labeled": 3, "share": 0.1}]])
def test_without_the_metric_there_is_no_curve(rows: list[dict[str, float]]) -> None:
    with pytest.raises(ValueError, match="no metric to draw"):
        learning_curve(rows)
