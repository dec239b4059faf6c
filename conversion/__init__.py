"""Photographs or a video to cameras: structure from motion with pycolmap, and a verdict on the result."""
