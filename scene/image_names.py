"""Match image names given by users or label files to the images of a scene."""

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
    """Image key of every name: the identical key, else the only key with the same last path component.

    Deviates from LangSplat's evaluator, which uses the number in the name minus one as the view index.

    Args:
        names: names to match.
        keys: images of the scene, paths below images/ without extension.
        kind: what a name denotes, for the error message.
        problem: first line of the error message.
        remedy: last sentence of the error message: what the user can do.

    Raises:
        InputError: some names match no image or several images; all such names are listed.
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
