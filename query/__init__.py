"""Text queries: language field, phrases, relevancy, answers, pictures and report. Independent of any benchmark.

Programs begin with `open_model` (docs/python.md).
"""

from query.objects.clicks import Click, PhraseScore, clicked_instance
from query.objects.description import LocatedObject
from query.objects.saving import Edits
from query.open_model import OpenModel, open_model
from query.phrase_answer import PhraseAnswer

__all__ = ["Click", "Edits", "LocatedObject", "OpenModel", "PhraseAnswer", "PhraseScore", "clicked_instance", "open_model"]
