"""Fitting Gaussians to photographs, and language codes to Gaussians."""
