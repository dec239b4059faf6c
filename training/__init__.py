"""RGB training of Gaussians, and training or lifting of their language codes (stage 3)."""
