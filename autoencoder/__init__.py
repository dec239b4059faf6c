"""Compressing a scene's embeddings to a few channels that Gaussians can carry, and decoding these (stage 2)."""
