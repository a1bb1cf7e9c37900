"""Tables, figures and pages from what run directories hold."""

from al_lightning.report.curves import learning_curve
from al_lightning.report.html_run import write_run_report

__all__ = ["learning_curve", "write_run_report"]
