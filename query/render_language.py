"""Renderings of the language field: code maps of every view, and relevancy maps of phrases."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from query.answer_rule import answer
from query.code_colors import CodeColors
from query.pictures import encoded, relevancy_picture
from query.question import Question, clean_phrases
from query.session import Session, ViewQueryConfig
from query.views import choose_views
from scene.camera import Camera
from scene.photographs import load_image
from workspace import ModelFolder, atomic, save_array
from workspace.record_types import RenderRecord
from workspace.scene_folder import inside
from workspace.slugs import slug
from workspace.stage_record import OpenStage, stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LanguageRenderConfig(ViewQueryConfig):
    """What to draw of the language field. The model folder knows the scene and the settings it was trained with."""

    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder of train.py."""
    skip_train: bool = False
    """Leave out the training views."""
    skip_test: bool = False
    """Leave out the held-out views."""
    overwrite: bool = False
    """Draw again what is there."""


def render_language(config: LanguageRenderConfig) -> None:
    """Render the language field of a trained scene (stage 4); existing maps are kept.

    Raises:
        InputError: no language field, scene missing, or a name matches no image.
    """
    config = replace(config, text=clean_phrases(config.text), negatives=clean_phrases(config.negatives))
    session = Session.open(config, ModelFolder(config.model_path), config.level, config.resolution)
    scene = session.scene
    wanted = {view.name for view in choose_views(scene, names=config.names)}
    question = session.question(config.text, config.negatives, (), config.reading, config.compare) if config.text else None
    for split, cameras, skipped in (("train", scene.train, config.skip_train), ("test", scene.test, config.skip_test)):
        chosen = [camera for camera in cameras if camera.name in wanted]
        if chosen and not skipped:
            _draw_split(session, question, split, cameras, chosen, config)


def _draw_split(
    session: Session,
    question: Question | None,
    split: str,
    cameras: Sequence[Camera],
    chosen: Sequence[Camera],
    config: LanguageRenderConfig,
) -> None:
    field, model = session.field, session.model
    colors = CodeColors.of(model.code_colors, field)
    size = {"size": [cameras[0].width, cameras[0].height], "views": len(cameras), "levels": list(field.levels)}
    codes = model.field_renders(split, "codes")
    phrases = {phrase: model.field_renders(split, "relevancy") / slug(phrase) for phrase in question.phrases} if question else {}
    asked = size | {"compare": config.compare, "reading": config.reading}
    asked |= session.relevancy(config.negatives) if question else {}
    with ExitStack() as stages:

        def begin(folder: Path, settings: dict[str, Any]) -> OpenStage:
            return stages.enter_context(stage(folder, RenderRecord, settings, field.fingerprint(), config.overwrite))

        runs = {codes: begin(codes, size)}
        runs |= {folder: begin(folder, asked | {"phrase": phrase}) for phrase, folder in phrases.items()}
        for camera in tqdm(chosen, desc=f"language {split}", unit="view", disable=None):
            missing = [phrase for phrase, folder in phrases.items() if not _map_file(folder, camera).exists()]
            drawn = all(_map_file(codes / level, camera).exists() for level in field.levels)
            if drawn and not missing:
                continue
            view = field.view(camera)
            if not drawn:
                _write_codes(codes, camera, field.levels, view.codes, colors)
            if missing:
                relevancy = question.relevancy(view, missing)
                for i, phrase in enumerate(missing):
                    _write_relevancy(phrases[phrase], camera, relevancy[:, i])
        files = [codes / level for level in field.levels]
        runs[codes].complete = all(_map_file(folder, camera).exists() for folder in files for camera in cameras)
        for folder in phrases.values():
            runs[folder].complete = all(_map_file(folder, camera).exists() for camera in cameras)
    log.info("%d views: %s", len(chosen), ", ".join(map(str, runs)))


def _map_file(folder: Path, camera: Camera) -> Path:
    """The array of a view. It is written after the picture, so its existence marks the view as finished."""
    return inside(folder, f"{camera.name}.npy")


def _write_codes(
    folder: Path, camera: Camera, levels: Sequence[str], maps: Float[Tensor, "levels c h w"], colors: CodeColors
) -> None:
    for level, codes in zip(levels, maps, strict=True):
        path = _map_file(folder / level, camera)
        _write_png(path.with_suffix(".png"), colors.paint(codes))
        save_array(path, codes.movedim(0, -1).half().cpu().numpy())


def _write_relevancy(folder: Path, camera: Camera, relevancy: Float[Tensor, "levels h w"]) -> None:
    path = _map_file(folder, camera)
    _write_png(path.with_suffix(".png"), relevancy_picture(load_image(camera), answer(relevancy).relevancy.cpu().numpy()))
    save_array(path, relevancy.half().cpu().numpy())


def _write_png(path: Path, picture: np.ndarray) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(encoded(picture, ".png"))
