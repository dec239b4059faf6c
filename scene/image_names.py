"""Images named by people or by label files, matched to the images of a scene."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import PurePosixPath

from workspace import InputError


def match_names(
    names: Sequence[str],
    keys: Sequence[str],
    kind: str = "name",
    problem: str = "--names is not of this scene's images",
    remedy: str = "Give such names.",
) -> dict[str, str]:
    """Image key of every name: the equal key, or the only key whose last part is that of the name.

    Deviates from LangSplat's evaluator, which takes the number in the name, less one, for the index of the view.

    Args:
        names: to be matched.
        keys: images of the scene, paths below images/ without extension.
        kind: what a name is, `problem` what is wrong when there is no such image, and `remedy` what to do, for the message.

    Raises:
        InputError: names without an image, or with several; all of them are listed.
    """
    stems: dict[str, list[str]] = {}
    for key in keys:
        stems.setdefault(PurePosixPath(key).name, []).append(key)
    known = set(keys)
    matched, missing, ambiguous = {}, [], []
    for name in names:
        found = [name] if name in known else stems.get(PurePosixPath(name).name, [])
        if len(found) == 1:
            matched[name] = found[0]
        else:
            (ambiguous if found else missing).append(name)
    if missing or ambiguous:
        lines = [f"no image for {kind} {name!r}" for name in missing]
        lines += [f"several images for {kind} {name!r}: {', '.join(stems[PurePosixPath(name).name])}" for name in ambiguous]
        near = get_close_matches(missing[0], list(keys), n=3) if missing else []
        examples = list(dict.fromkeys([*near, *keys]))[:5]
        scene = f"The scene has {len(keys)} images, such as {', '.join(examples)}."
        raise InputError("\n  ".join([f"{problem}:", *lines]) + f"\n{scene} {remedy}")
    return matched
