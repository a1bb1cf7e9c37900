"""Other libraries' models in this framework; nothing else here imports those libraries."""
