"""Sweeps: W&B's sweep files, walked on this machine with W&B's own search engine and without a server."""
