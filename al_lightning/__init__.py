"""Active learning for autonomous driving: decide which data to label next."""
