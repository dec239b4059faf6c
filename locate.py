"""Text -> objects in 3D (stage 6): positions, boxes, and splat files with the objects extracted, removed or recoloured."""

from workspace import command_line  # imported first: it sets how idle threads wait

# isort: split
from query.locate import LocateConfig, locate

if __name__ == "__main__":
    command_line.run(locate, LocateConfig)
