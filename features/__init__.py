"""Image features: segment masks, image and text encoders, and the files that store them."""
