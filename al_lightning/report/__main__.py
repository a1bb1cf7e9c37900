"""Writes tables and a page from run directories: ``python -m al_lightning.report DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from al_lightning.report.html_comparison import comparison_page
from al_lightning.report.html_run import FILE, write_run_report
from al_lightning.report.tables import tables
from al_lightning.report.tables_groups import group
from al_lightning.report.tables_runs import ReportedRun, RunReadError, read_runs
from al_lightning.report.tables_write import comma_separated, latex, markdown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.report",
        description="Write a page and tables from all run directories in a folder: curves with intervals over seeds, "
        "paired differences to a baseline, IoU of the classes, subsets such as night and rain, label efficiency, "
        "overlap of the picks; the papers' own numbers beside them.",
        epilog="Writes DIR/report/report.html, DIR/report/tables.md, and each table as .csv and .tex; where DIR is a "
        "run itself, its own page DIR/report.html, too. Runs may still be going on.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with run directories, at any depth")
    parser.add_argument("--baseline", default="random", help="method to compare with (default: random)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: DIR/report)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 runs cannot be read or compared."""
    options = _parser().parse_args(arguments)
    out: Path = options.out or options.folder / "report"
    try:
        runs = read_runs(options.folder)
        experiments = group(runs)
        methods = sorted({method.name for experiment in experiments for method in experiment.methods})
        if options.baseline not in methods and options.baseline != "random":
            raise RunReadError(f"there is no method '{options.baseline}'; there are: {'; '.join(methods)}")
        compared = [(experiment, list(tables(experiment, options.baseline))) for experiment in experiments]
        made = [table for _, own in compared for table in own]
        out.mkdir(parents=True, exist_ok=True)
        for table in made:
            (out / f"{table.name}.csv").write_text(comma_separated(table), encoding="utf-8")
            (out / f"{table.name}.tex").write_text(latex(table), encoding="utf-8")
        remarks = [*_unfinished(runs), *(remark for experiment in experiments for remark in experiment.remarks)]
        paragraphs = [f"# Tables of {len(runs)} runs", *remarks]
        text = "\n".join([*(f"{paragraph}\n" for paragraph in paragraphs), *map(markdown, made)])
        (out / "tables.md").write_text(text, encoding="utf-8")
        if any(run.path == options.folder for run in runs):
            print(write_run_report(options.folder))
        title = f"{options.folder.resolve().name}: {len(runs)} runs"
        page = comparison_page(title, compared, options.baseline, remarks, out)
        (out / FILE).write_text(page, encoding="utf-8")
    except (RunReadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(made)} tables of {len(runs)} runs: {out / FILE}, {out / 'tables.md'}")
    return 0


def _unfinished(runs: Sequence[ReportedRun]) -> list[str]:
    """One paragraph that names the runs that go on, if there are some."""
    short = [run for run in runs if len(run.metrics) < run.config["loop"]["cycles"]]
    names = ", ".join(f"{run.path.name} ({len(run.metrics)} of {run.config['loop']['cycles']} cycles)" for run in short)
    return [f"Not finished: {names}."] if short else []


if __name__ == "__main__":
    sys.exit(main())
