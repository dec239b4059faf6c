"""Photographs or a video -> COLMAP scene (stage 0)."""

from conversion.stage import convert
from conversion.steps import ConvertConfig
from workspace import command_line

if __name__ == "__main__":
    command_line.run(convert, ConvertConfig)
