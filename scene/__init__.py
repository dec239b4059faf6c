"""Cameras, photographs, points and Gaussians: what the pipeline reads, and the readers of every accepted format."""
