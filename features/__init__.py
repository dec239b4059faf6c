"""What the photographs show, as vectors: segment masks, image and text encoders, and the files they are kept in."""
