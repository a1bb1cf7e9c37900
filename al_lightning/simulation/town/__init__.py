"""A procedural town: streets, sidewalks, houses, trees."""

from al_lightning.simulation.town.build import build_town

__all__ = ["build_town"]
