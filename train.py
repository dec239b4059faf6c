"""Stage 3: photographs -> Gaussians, or with --include_feature the Gaussians' language codes."""

from collections.abc import Callable

from workspace.command_line import run_either


def _language() -> tuple[Callable, type]:
    from training.language import LanguageTrainConfig, train_language

    return train_language, LanguageTrainConfig


def _photographs() -> tuple[Callable, type]:
    from training.rgb_trainer import RgbTrainConfig, train_rgb

    return train_rgb, RgbTrainConfig


if __name__ == "__main__":
    run_either("include_feature", "train the language field of trained Gaussians instead", _language, _photographs)
