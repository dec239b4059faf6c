"""Stage 3: photographs to Gaussians, or with --include_feature the Gaussians' language codes."""

import sys

from workspace.command_line import run

INCLUDE_FEATURE = ("--include_feature", "--include-feature")


def main(args: list[str]) -> None:
    """Train what the arguments ask for. The two kinds of training have their own flags; see --help with and without."""
    rest = [arg for arg in args if arg not in INCLUDE_FEATURE]
    if len(rest) < len(args):
        from training.language import LanguageTrainConfig, train_language

        run(train_language, LanguageTrainConfig, rest)
    else:
        from training.rgb_trainer import RgbTrainConfig, train_rgb

        run(train_rgb, RgbTrainConfig, rest)


if __name__ == "__main__":
    main(sys.argv[1:])
