"""Stage 4: trained Gaussians to pictures, or with --include_feature their language to code and relevancy maps."""

import sys

from workspace.command_line import run

INCLUDE_FEATURE = ("--include_feature", "--include-feature")


def main(args: list[str]) -> None:
    """Draw what the arguments ask for. The two kinds of pictures have their own flags; see --help with and without."""
    rest = [arg for arg in args if arg not in INCLUDE_FEATURE]
    if len(rest) < len(args):
        from query.render_language import LanguageRenderConfig, render_language

        run(render_language, LanguageRenderConfig, rest)
    else:
        from gaussian_renderer.render_photographs import RenderConfig, render_photographs

        run(render_photographs, RenderConfig, rest)


if __name__ == "__main__":
    main(sys.argv[1:])
