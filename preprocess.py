"""Stage 1: photographs to language features. See `python preprocess.py --help`."""

import command_line
from features.preprocessing import PreprocessConfig, preprocess

if __name__ == "__main__":
    command_line.run(preprocess, PreprocessConfig)
