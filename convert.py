"""Photographs or a video -> COLMAP scene (stage 0)."""

from workspace import command_line  # imported first: it sets how idle threads wait

# isort: split
from conversion.stage import convert
from conversion.steps import ConvertConfig

if __name__ == "__main__":
    command_line.run(convert, ConvertConfig)
