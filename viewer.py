"""The browser viewer of a trained scene: look around, ask, click, edit, save; and the same answers over HTTP."""

from workspace import command_line  # imported first: it sets how idle threads wait

# isort: split
from viewer.app import view
from viewer.config import ViewerConfig

if __name__ == "__main__":
    command_line.run(view, ViewerConfig)
