"""Cameras, photographs, point clouds and Gaussians, with a reader for every accepted file format."""
