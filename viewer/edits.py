"""The edited scene as a splat file for download, by the same functions as locate.py."""

import io

import numpy as np
from plyfile import PlyData, PlyElement

from query.objects import editing
from query.phrase_answer import PhraseAnswer
from scene.ply import read_vertices
from viewer.overlay import edited
from viewer.state import ViewState


def edited_splats(answer: PhraseAnswer, state: ViewState) -> bytes:
    """Binary PLY of the trained file's vertices as edited; the object alone when nothing is edited."""
    vertices = read_vertices(answer.model.folder.point_cloud(answer.model.session.field.trained.iteration))
    change = edited(state, answer)
    if change.painted is not None:
        vertices = editing.recolored(vertices, change.painted, np.array(state.color, np.uint8))
    else:
        vertices = editing.extracted(vertices, answer.gaussians if change.kept is None else change.kept)
    file = io.BytesIO()
    PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(file)
    return file.getvalue()
