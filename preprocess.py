"""Stage 1: photographs to language features. See `python preprocess.py --help`."""

from features.preprocessing import PreprocessConfig, preprocess
from workspace import command_line

if __name__ == "__main__":
    command_line.run(preprocess, PreprocessConfig)
