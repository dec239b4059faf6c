"""For programs: a trained scene opened once and asked in a few lines. Examples are in docs/python.md."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from query.objects.clicks import Click, PhraseScore, best_phrases, click
from query.objects.description import document
from query.objects.finding import InstanceOptions, PhraseRelevancy
from query.opened_scene import OpenedScene, remembered
from query.phrase_answer import PhraseAnswer
from query.question import clean_phrases
from query.session import Session, SessionConfig
from scene.camera import Camera
from workspace import InputError, ModelFolder
from workspace.device import Device

LIFTED = "lifted"  # the field asked when a model has several: its questions cost milliseconds
REMEMBERED_BYTES = 256 << 20  # of the relevancy of phrases asked before


class OpenModel(OpenedScene):
    """A model's Gaussians, cameras and language field, ready for questions. Not for several threads at once."""

    def __init__(self, session: Session):
        super().__init__(session)
        self._asked: OrderedDict[Hashable, PhraseRelevancy] = OrderedDict()

    def ask(self, phrase: str, negatives: Sequence[str] = (), level: str | None = None, **options: Any) -> PhraseAnswer:
        """Where a phrase is. Asked again with another threshold, it costs no new comparison.

        Args:
            phrase: what to look for.
            negatives: phrases that stand for everything else; by default those of the text encoder.
            level: one of `levels`; by default the one that answers best.
            options: fields of `InstanceOptions`: threshold, rule, grow, neighbours, min_gaussians, instances.

        Raises:
            InputError: an option has no meaning, or there is no such level.
        """
        return self.ask_all([phrase], negatives, level, **options)[0]

    def ask_all(
        self, phrases: Sequence[str], negatives: Sequence[str] = (), level: str | None = None, **options: Any
    ) -> list[PhraseAnswer]:
        """Where each phrase is, all compared in one pass; arguments and errors as in `ask`."""
        known = [one.name for one in fields(InstanceOptions)]
        if unknown := [name for name in options if name not in known]:
            raise InputError(f"There is no option {', '.join(unknown)}; there are {', '.join(known)}.")
        chosen = InstanceOptions(**options)
        chosen.check()
        phrases, negatives = clean_phrases(phrases), clean_phrases(negatives)
        self.finder.check_level(level)
        relevant = self._relevancy(phrases, negatives, level, chosen.neighbours)
        return [PhraseAnswer(self, one, self.finder.instances(one, chosen), chosen, negatives, level) for one in relevant]

    def at(self, camera: Camera, x: int, y: int) -> Click | None:
        """What is behind the pixel in column `x` and row `y` of a camera's picture: position and Gaussians; None for nothing."""
        return click(camera, self.gaussians, x, y, self.view(camera))

    def names(self, clicked: Click, phrases: Sequence[str], negatives: Sequence[str] = ()) -> list[PhraseScore]:
        """The phrases of a list by how well they fit what was clicked, best first; none for an empty list."""
        phrases, negatives = clean_phrases(phrases), clean_phrases(negatives)
        return best_phrases(clicked, self.session.question(phrases, negatives)) if phrases else []

    def document(self, answers: Sequence[PhraseAnswer], views: int = 3) -> dict[str, Any]:
        """The answers as in `objects.json` of locate.py (docs/objects.schema.json), nothing written.

        `views` photographs are listed for every instance; each costs renderings, 0 costs none.
        """
        located = [one for answer in answers for one in answer.objects(views)]
        return document([answer.phrase for answer in answers], located, self.frame, answers[0].settings if answers else {})

    def warm(self, neighbours: int) -> None:
        """Load the text encoder and search the Gaussians' neighbours now, instead of with the first question."""
        self.ask("object", neighbours=neighbours)

    def _relevancy(
        self, phrases: Sequence[str], negatives: tuple[str, ...], level: str | None, neighbours: int
    ) -> list[PhraseRelevancy]:
        def key(phrase: str) -> Hashable:
            return phrase, negatives, level, neighbours

        new = [phrase for phrase in dict.fromkeys(phrases) if key(phrase) not in self._asked]
        found = self.finder.relevancy(self.session.question(new, negatives), neighbours, level) if new else []
        fresh = {key(one.phrase): one for one in found}
        most = max(1, REMEMBERED_BYTES // (4 * len(self.gaussians)))
        answers = [fresh.get(key(phrase)) or self._asked[key(phrase)] for phrase in phrases]
        for phrase, answer in zip(phrases, answers, strict=True):
            remembered(self._asked, key(phrase), lambda answer=answer: answer, most)
        return answers


def open_model(
    model_path: Path | str,
    field: str | None = None,
    source_path: Path | str | None = None,
    device: Device = "auto",
    resolution: int | None = None,
) -> OpenModel:
    """Open the model folder that train.py wrote.

    Args:
        model_path: the model folder.
        field: name of the language field; by default the lifted one when there is one, else the only one or the published one.
        source_path: the scene folder, when it was moved since training.
        device: auto takes the GPU when there is one.
        resolution: size of the views: 1, 2, 4, 8 divide, other values are a width in pixels; by default as in training.

    Raises:
        InputError: no finished training, no such field, or the scene folder is missing.
    """
    source = None if source_path is None else Path(source_path)
    return opened(SessionConfig(source_path=source, field=field, device=device), Path(model_path), resolution)


def opened(config: SessionConfig, model_path: Path, resolution: int | None = None) -> OpenModel:
    """Open a model folder as `open_model` does, by the settings of a command."""
    folder = ModelFolder(model_path)
    lifted = config.field is None and LIFTED in folder.fields()
    folder = folder.reading(LIFTED if lifted else config.field)
    return OpenModel(Session.open(replace(config, field=folder.field), folder, None, resolution))
