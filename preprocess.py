"""Stage 1: photographs -> language features. See `python preprocess.py --help`."""

from workspace import command_line  # imported first: it sets how idle threads wait

# isort: split
from features.preprocessing import PreprocessConfig, preprocess

if __name__ == "__main__":
    command_line.run(preprocess, PreprocessConfig)
