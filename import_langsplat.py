"""LangSplat's released checkpoints -> a model folder that is rendered and queried like our own."""

from workspace import command_line  # imported first: it sets how idle threads wait

# isort: split
from training.langsplat_import import ImportConfig, import_langsplat

if __name__ == "__main__":
    command_line.run(import_langsplat, ImportConfig)
