"""The generated tabletop: a photographed scene with exact ground truth."""
