"""The bodies of the objects on the road: cars, people, cones and the like as a few solids each."""

from __future__ import annotations

from al_lightning.simulation.sculpting import Body
from al_lightning.simulation.street_forms import PEOPLE_AND_THINGS
from al_lightning.simulation.vehicle_forms import RIDDEN, VEHICLES
from al_lightning.simulation.world import CATEGORY_LABELS, Solids

__all__ = ["RIDDEN", "build_body"]

_FORMS = {**VEHICLES, **PEOPLE_AND_THINGS}


def build_body(category: str, size: tuple[float, float, float], seed: int) -> Solids:
    """The solids of an object in its own frame.

    Args:
        category: a key of `CATEGORY_LABELS`. Two-wheelers of at least `RIDDEN` metres carry a rider.
        size: (width, length, height) in metres; no solid reaches out of this box.
        seed: varies colours and forms.

    Returns:
        The solids, of no instance yet.

    Raises:
        ValueError: the category is unknown or the size is not positive.
    """
    if category not in _FORMS:
        raise ValueError(f"category must be one of {', '.join(_FORMS)}, got '{category}'")
    if not min(size) > 0:
        raise ValueError(f"size must be positive, got {size}")
    body = Body(CATEGORY_LABELS[category], size, seed)
    _FORMS[category](body)
    return body.solids()
