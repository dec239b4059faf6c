"""Compressing a scene's embeddings to a few channels that Gaussians can carry, and back (stage 2)."""
