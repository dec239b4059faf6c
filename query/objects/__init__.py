"""Answers in 3D: which Gaussians a phrase names, as instances with positions and boxes, and what to do with them."""
