"""LangSplat's released checkpoints -> a model folder that renders and answers like our own."""

from workspace import command_line  # first: it decides how threads wait

# isort: split
from training.langsplat_import import ImportConfig, import_langsplat

if __name__ == "__main__":
    command_line.run(import_langsplat, ImportConfig)
