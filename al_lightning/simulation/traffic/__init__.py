"""The traffic of a scene: the ego vehicle, the others, people, and what happens between them."""

from al_lightning.simulation.traffic.scene import drive

__all__ = ["drive"]
