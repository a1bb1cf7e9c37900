"""mmcv, mmengine, mmdet and mmdet3d made ready for use; see docs/mmdet3d.md."""

from __future__ import annotations

import logging
import sys
import warnings
from functools import lru_cache
from importlib.util import find_spec

from al_lightning.integrations.mmdet3d.extension import (
    ADVICE,
    ExtensionStandIn,
    points_in_boxes_all,
    points_in_boxes_part,
)

log = logging.getLogger(__name__)


class MissingLibraryError(ValueError):
    """mmdet3d or a library that it needs is not installed; the message says how to install it."""


def require(wanted: str) -> None:
    """Make mmdet3d ready: its operators, compiled or stood in for, and its registries.

    Everything in this package calls this before it imports mmcv, mmengine, mmdet or mmdet3d.

    Args:
        wanted: what is to be built, for the message.

    Raises:
        MissingLibraryError: the extra ``mmdet3d`` is not installed.
    """
    missing = [name for name in ("mmengine", "mmcv", "mmdet", "mmdet3d") if find_spec(name) is None]
    if missing:
        raise MissingLibraryError(
            f"{wanted} needs {', '.join(missing)}: pip install -c constraints.txt -e '.[mmdet3d]' (docs/mmdet3d.md)"
        )
    _prepare()


@lru_cache(maxsize=1)
def _prepare() -> None:
    if find_spec("mmcv._ext") is None:
        _stand_in()
    from mmdet3d.utils import register_all_modules
    from mmengine.logging import MMLogger

    MMLogger.get_current_instance().setLevel(logging.WARNING)  # it tells of every weight that it initializes
    warnings.filterwarnings("ignore", module="mm(cv|engine|det|det3d)[.]")
    register_all_modules(init_default_scope=True)


def _stand_in() -> None:
    """Before mmcv.ops is imported for the first time: it looks for all its operators at once."""
    log.info("mmcv has no compiled operators; plain torch stands in for some of them. To have all: %s", ADVICE)
    sys.modules["mmcv._ext"] = ExtensionStandIn()
    import mmcv.ops

    mmcv.ops.points_in_boxes_all = points_in_boxes_all
    mmcv.ops.points_in_boxes_part = points_in_boxes_part
