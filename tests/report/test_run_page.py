import csv
import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from fake_gallery import HOSTILE
from fake_reports import write_run

from al_lightning.report import html_space, write_run_report
from al_lightning.report.__main__ import main
from al_lightning.report.evidence import Cycle, read_evidence
from al_lightning.report.html_classes import shares
from al_lightning.report.html_gallery import UNLABELED
from al_lightning.report.html_space import _sample
from al_lightning.report.tables_runs import RunReadError


@pytest.fixture(params=["occupancy", "planning"])
def run(request: pytest.FixtureRequest, finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(finished_runs[request.param], tmp_path / "run"))


def selection(run: Path, cycle: int) -> list[dict[str, str]]:
    with (run / f"cycles/{cycle}/selection.csv").open() as file:
        return list(csv.DictReader(file))


def test_evidence_is_what_the_run_has_written(run: Path) -> None:
    evidence = read_evidence(run)
    assert [cycle.number for cycle in evidence.cycles] == [0, 1]
    for cycle in evidence.cycles:
        rows = selection(run, cycle.number)
        assert [evidence.units[unit] for unit in cycle.picks] == [row["unit"] for row in rows]
        for unit, row in zip(cycle.picks, rows, strict=True):
            assert float(row["score"]) == cycle.scores["score"][cycle.position[unit]]
        acquired = set().union(*(evidence.run.acquired[k] for k in range(cycle.number + 1)))
        assert {evidence.units[unit] for unit in cycle.labeled} == acquired
        assert sorted([*cycle.labeled, *cycle.candidates]) == list(range(len(evidence.units)))
        assert [e.name for e in cycle.gallery.exhibits if e.kind == "selected"] == [row["unit"] for row in rows][:2]


def test_the_page_can_be_written_again_from_the_files_alone(run: Path) -> None:
    first = (run / "report.html").read_bytes()
    for path in run.glob("cycles/*/checkpoint.ckpt"):
        path.unlink()
    assert write_run_report(run) == run / "report.html"
    assert (run / "report.html").read_bytes() == first


def test_every_exhibit_has_its_reasons(finished_runs: dict[str, Path]) -> None:
    page = unescape((finished_runs["occupancy"] / "report.html").read_text())
    assert page.count("The nearest class histogram among those labeled") == 8  # 2 x (2 selected, 2 left behind)
    assert page.count("there was none to differ from") == 2
    assert page.count("The classes that carry it") == 8
    assert page.count(UNLABELED) == 4
    page = unescape((finished_runs["planning"] / "report.html").read_text())
    assert page.count("The nearest hazard is") == 8
    assert page.count("soft collision cost of the planned steps") == 4
    assert page.count(UNLABELED) == 4


def test_a_selection_has_one_name(finished_runs: dict[str, Path]) -> None:
    page = unescape((finished_runs["occupancy"] / "report.html").read_text())
    for name in ("score", "class", "gallery"):
        assert re.findall(rf'id="{name}-tabs-tab-\d"[^>]*>([^<]+)<', page) == ["for cycle 1", "for cycle 2"]
    assert "selection for cycle 2" in page  # the embeddings
    assert page.count("</span>for cycle 1<") == 1  # in their legend
    assert not re.search("in cycle [12]", page)


def test_names_are_text(run: Path) -> None:
    assert HOSTILE not in (run / "report.html").read_text()


def test_an_older_run_has_a_page_without_gallery_and_learned_space(run: Path) -> None:
    for path in (*run.glob("cycles/*/gallery.npz"), *run.glob("cycles/*/embeddings.npz")):
        path.unlink()
    page = write_run_report(run).read_text()
    assert "No gallery was kept of the selection for cycle 1, for cycle 2" in page
    assert "<article" not in page
    assert ('id="tsne"' in page) == ("occupancy" in page)  # a planner's summaries hold no embedding


def test_a_run_that_goes_on_has_a_page(run: Path) -> None:
    shutil.rmtree(run / "cycles/2")
    for name in ("scores.parquet", "selection.csv", "gallery.npz"):
        (run / "cycles/1" / name).unlink()
    rows = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("\n".join(rows[:3]) + "\n")
    page = write_run_report(run).read_text()
    assert "of 3" in page
    assert page.count('id="gallery-0-0"') == 1
    assert 'id="gallery-1-0"' not in page


def test_a_run_that_has_selected_nothing_has_a_page(tmp_path: Path) -> None:
    page = write_run_report(write_run(tmp_path / "run", 0, metrics={"mIoU": [0.1]})).read_text()
    assert "Nothing has been selected yet." in page


def test_a_damaged_file_is_named(run: Path) -> None:
    (run / "cycles/0/scores.parquet").write_text("no table")
    with pytest.raises(RunReadError, match="cycles/0"):
        write_run_report(run)


def test_the_command_writes_the_page_of_a_run(run: Path, capsys: pytest.CaptureFixture) -> None:
    (run / "report.html").unlink()
    assert main([str(run)]) == 0
    assert str(run / "report.html") in capsys.readouterr().out
    assert (run / "report.html").exists()
    assert (run / "report/report.html").exists()


def test_class_shares_are_means_over_units(finished_runs: dict[str, Path]) -> None:
    cycle = read_evidence(finished_runs["occupancy"]).cycles[1]
    found = shares(cycle)
    with np.load(finished_runs["occupancy"] / "cycles/1/summaries.npz") as file:
        histograms = dict(zip(file["units"].tolist(), file["class_histogram"], strict=True))
    for name, units in (("labeled", cycle.labeled), ("pool", cycle.candidates), ("selected", cycle.picks)):
        assert found[name] == pytest.approx(np.mean([histograms[int(unit)] for unit in units], axis=0), rel=1e-6)


def test_of_many_units_some_are_drawn(finished_runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_space, "LARGEST", 9)
    evidence = read_evidence(finished_runs["occupancy"])
    cycle: Cycle = evidence.cycles[1]
    drawn = _sample(len(evidence.units), cycle)
    assert len(drawn) == 9
    assert set(cycle.picks) <= set(drawn.tolist())
    (section,) = html_space.space_section(evidence)
    assert f"9 of {len(evidence.units)} units" in section.body
    assert len(re.findall("<circle ", section.body)) == 9
