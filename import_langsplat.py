"""LangSplat's released checkpoints -> a model folder that renders and answers like our own."""

from training.langsplat_import import ImportConfig, import_langsplat
from workspace import command_line

if __name__ == "__main__":
    command_line.run(import_langsplat, ImportConfig)
