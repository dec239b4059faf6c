"""Photographs or a video -> COLMAP scene (stage 0)."""

import command_line
from scene.conversion import convert
from scene.conversion_steps import ConvertConfig

if __name__ == "__main__":
    command_line.run(convert, ConvertConfig)
