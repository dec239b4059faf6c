"""Stage 4: trained Gaussians -> images, or with --include_feature their language field -> code and relevancy maps."""

from collections.abc import Callable

from workspace.command_line import run_either


def _language() -> tuple[Callable, type]:
    from query.render_language import LanguageRenderConfig, render_language

    return render_language, LanguageRenderConfig


def _photographs() -> tuple[Callable, type]:
    from gaussian_renderer.render_photographs import RenderConfig, render_photographs

    return render_photographs, RenderConfig


if __name__ == "__main__":
    run_either("include_feature", "draw the language field: codes, or the relevancy of --text", _language, _photographs)
