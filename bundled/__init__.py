"""Training of the bundled segmenter and encoder on toy worlds; their weights are in `assets/`."""
