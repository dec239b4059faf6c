"""Text -> objects in 3D (stage 6): positions, boxes, and splat files of what was extracted, removed or recoloured."""

from workspace import command_line  # first: it decides how threads wait

# isort: split
from query.locate import LocateConfig, locate

if __name__ == "__main__":
    command_line.run(locate, LocateConfig)
