"""LangSplat's released checkpoints -> a model folder that renders and answers like our own."""

import command_line
from training.langsplat_import import ImportConfig, import_langsplat

if __name__ == "__main__":
    command_line.run(import_langsplat, ImportConfig)
