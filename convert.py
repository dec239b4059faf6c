"""Photographs or a video -> COLMAP scene (stage 0)."""

import command_line
from scene.conversion import ConvertConfig, convert

if __name__ == "__main__":
    command_line.run(convert, ConvertConfig)
