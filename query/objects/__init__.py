"""Answers in 3D: the Gaussians of a phrase as instances with positions and boxes, and edits of the scene with them."""
