"""The sensors of the simulated world: cameras, LiDAR, and what they see as semantic occupancy."""
