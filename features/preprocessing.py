"""Stage 1: features of every photograph of a scene, by the chosen extractor."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from features.extraction import extract_all, parse_shard
from features.photographs import scene_photographs
from features.provenance import digests, replaced
from features.registry import DEFAULT, EXTRACTORS, OPTIONS, ExtractorName
from scene.photographs import names_text
from scene.picture_size import picture_size
from workspace import InputError, SceneFolder
from workspace.device import Device, chosen_device
from workspace.record_types import FeatureSettings, FeaturesRecord, FeaturesReport
from workspace.stage_record import read_record, refuse_other, stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CommonOptions:
    """Flags that every extractor has."""

    source_path: Annotated[Path, tyro.conf.arg(aliases=["-s"])]
    """Scene folder, with photographs in images/."""
    features: ExtractorName = DEFAULT
    """sam_clip: LangSplat's segments. dino: DinoSplat's patches. clip_dense: patches of an OpenCLIP model. own: your masks.
    mini, mini_dense: bundled, no download, toy worlds only. Installed packages may bring others."""
    resolution: Annotated[int, tyro.conf.arg(aliases=["-r"])] = -1
    """-1 keeps the photographs' size up to 1080 pixels high; 1, 2, 4 or 8 divides it; another value is the largest width."""
    device: Device = "auto"
    """Where the networks run."""
    shard: str = "1/1"
    """i/n: this process does every n-th image from the i-th on; n processes or machines share the work."""
    overwrite: bool = False
    """Replace features made with other settings."""


@dataclass(frozen=True)
class PreprocessConfig(*reversed(OPTIONS), CommonOptions):
    """Features of every photograph: the common flags, then those of each extractor."""


def preprocess(config: PreprocessConfig) -> None:
    """Stage 1: segment or patch features of every photograph, written into the scene folder.

    A killed run continues with the same command. Photographs that cannot be read are reported at the end, exit code 1.
    """
    scene = SceneFolder(config.source_path)
    shard = parse_shard(config.shard)
    if config.overwrite and shard[1] > 1:
        raise InputError(
            "--overwrite would delete what other shards have done. Delete the feature folder once, then start the shards."
        )
    picture_size(1, 1, config.resolution)  # validates the resolution before any work
    spec = EXTRACTORS[config.features]
    _refuse_flags_of_others(config)
    resolution = spec.resolution(config.resolution, config)
    settings = FeatureSettings(config.features, resolution=resolution, **spec.settings(config))
    photographs = scene_photographs(scene)
    store = spec.store(scene, settings)
    device = chosen_device(config.device)
    now = digests(photographs)

    def outdated() -> list[str]:
        return replaced(store.made_from(), now)

    def missing(keys: Iterable[str]) -> list[str]:
        old = set(outdated())
        return [key for key in keys if key in old or not store.has(key)]

    if not config.overwrite:
        refuse_other(store.folder, FeaturesRecord, settings, {})
    mine = list(photographs)[shard[0] - 1 :: shard[1]]
    extractor = None
    if config.overwrite or missing(mine):
        # networks are loaded only when there is work, and before the folder is changed, because weights may be missing
        extractor = spec.load(config, device)
        log.info("%s", settings)
        spec.announce(config, scene)

    failures: dict[str, str] = {}
    with stage(store.folder, FeaturesRecord, settings, {}, config.overwrite) as run:
        if extractor is not None:
            todo = missing(mine)
            if len(todo) < len(mine):
                log.info("%d of %d images are done already", len(mine) - len(todo), len(mine))
            if old := outdated():
                log.info("%d photographs were replaced; their features are made again: %s", len(old), names_text(old))
            wanted = {key: photographs[key] for key in todo}
            failures = extract_all(store, wanted, extractor, scene.extraction_log(store.folder, shard), resolution)
        run.complete, run.report = not missing(photographs), FeaturesReport(spec.embeddings)
    remaining = missing(photographs)
    if not remaining and not read_record(store.folder, FeaturesRecord, "Repeat the command.").complete:
        with stage(store.folder, FeaturesRecord, settings, {}):  # another shard finished between the check and the record
            pass
    if failures:
        lines = "\n".join(f"  {reason}" for reason in failures.values())
        log.error(
            "%d of %d photographs have no features:\n%s\nMend what is named, or leave these photographs out and make the "
            "cameras, if there are any, again; the same command continues.",
            len(failures),
            len(photographs),
            lines,
        )
        raise SystemExit(1)
    log.info("%s: %d of %d images", store.folder, len(photographs) - len(remaining), len(photographs))


def _refuse_flags_of_others(config: PreprocessConfig) -> None:
    """InputError for a segmenter, or another flag, that the extractor does not have."""
    valid = {name: spec.segmenters for name, spec in EXTRACTORS.items() if spec.segmenters}
    if config.segmenter is not None and config.segmenter not in valid.get(config.features, ()):
        listed = "; ".join(f"{name}: {', '.join(segmenters)}" for name, segmenters in valid.items())
        raise InputError(f"--features {config.features} does not go with --segmenter {config.segmenter}. These do: {listed}.")
    owners = {name: {option.name for option in fields(spec.options)} for name, spec in EXTRACTORS.items() if spec.options}
    for option in fields(config):
        takers = [name for name, options in owners.items() if option.name in options]
        given = getattr(config, option.name)
        # --preset is handed on by scripts whatever the features; extractors without prompts have nothing to leave out
        if not takers or config.features in takers or option.name in ("segmenter", "preset") or given == option.default:
            continue
        shown = " ".join(map(str, given)) if isinstance(given, tuple) else given
        raise InputError(
            f"--{option.name} {shown} does not apply to --features {config.features}; the flag is for {', '.join(takers)}. "
            "Leave it out."
        )
