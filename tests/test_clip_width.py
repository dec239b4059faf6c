"""The synthetic embeddings of benchmarks.clip_width have the statistics that they claim."""

import pytest
import torch

from benchmarks.clip_width import WIDTH, Concepts
from workspace import SceneFolder, write_json

PHRASES = {"red mug": [0, 1], "handle": [1], "table": [2], "wall": [3]}


@pytest.fixture
def concepts(tmp_path):
    scene = SceneFolder(tmp_path)
    parts = [{"object": item} for item in (0, 0, 1, 2)]
    write_json(scene.part_ids / "parts.json", {"parts": parts, "phrases": PHRASES})
    return Concepts(scene, 0)


def test_pictures_share_much_and_phrases_point_away_from_all(concepts):
    one, other = concepts.pictures(torch.eye(4).repeat(50, 1)), concepts.pictures(torch.eye(4).repeat(50, 1))
    cosines = (one @ other.T).reshape(50, 4, 50, 4).mean((0, 2))
    assert one.shape == (200, WIDTH) and torch.allclose(one.norm(dim=1), torch.ones(200))
    assert all(0.5 < cosines[i, j] < 0.7 for i, j in [(0, 2), (0, 3), (1, 2), (2, 3)])  # CLIP's, of unrelated segments
    assert cosines.diagonal().min() > 0.8 and 0.7 < cosines[0, 1] < 0.8  # the same part in two views; two parts of one object
    texts = concepts.texts(tuple(PHRASES)) @ one.T.reshape(WIDTH, 50, 4).mean(1)
    assert texts.max() < 0.4 and (texts.argmax(1)[1:] == torch.tensor([1, 2, 3])).all()


def test_a_segment_of_two_things_lies_between_them(concepts):
    both = concepts.pictures(torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(50, 1)).mean(0)
    table, wall, mug = (concepts.pictures(torch.eye(4)[[part]].repeat(50, 1)).mean(0) for part in (2, 3, 0))
    assert both @ table > both @ mug + 0.1 and both @ wall > both @ mug + 0.1
