"""`python -m toy_world -s <folder>`."""

from toy_world.generate import ToyWorldConfig, main
from workspace import command_line

if __name__ == "__main__":
    command_line.run(main, ToyWorldConfig)
