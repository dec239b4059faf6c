"""Cameras from photographs or a video: structure from motion with pycolmap, and a verdict on the result."""
