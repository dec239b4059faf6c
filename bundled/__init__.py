"""Training of the bundled segmenter and encoder on toy worlds; what they learn is in `assets/`."""
