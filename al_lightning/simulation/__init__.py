"""A simulated driving world that writes data sets in the on-disk formats of nuScenes and Occ3D."""
