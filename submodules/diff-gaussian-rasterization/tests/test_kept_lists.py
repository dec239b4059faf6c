"""When the lists of a prepared view are kept on a GPU, which is played by a fake."""

from types import SimpleNamespace

import pytest
import torch
from diff_gaussian_rasterization import kept_weights, set_weight_budget
from diff_gaussian_rasterization.kept_weights import KeptWeights

SIZE = 1000  # bytes of the lists


@pytest.fixture
def gpu(monkeypatch):
    fake = SimpleNamespace(capturing=False, counted=0)

    def keep_lists(target, camera, prepared, memory, scratch):
        fake.counted += 1
        memory(SIZE)

    monkeypatch.setattr(kept_weights, "_C", SimpleNamespace(keep_lists=keep_lists))
    monkeypatch.setattr(kept_weights, "target_for", lambda tensor: None)
    monkeypatch.setattr(kept_weights, "prepared_fields", lambda state, counts: None)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: fake.capturing)
    monkeypatch.setattr(kept_weights, "_budget", kept_weights._Budget())
    return fake


def train(kept):
    state = SimpleNamespace(is_cuda=True, device=torch.device("cpu"))
    return kept.for_pass(([], 8, 8), state, torch.zeros(2), torch.zeros(1, 1, requires_grad=True)).kept


def test_lists_are_kept_from_the_second_training_pass_on_and_never_made_in_a_capture(gpu):
    kept = KeptWeights()
    assert train(kept) is None
    gpu.capturing = True
    assert train(kept) is None and gpu.counted == 0
    gpu.capturing = False
    lists = train(kept)
    assert lists is not None and lists.numel() == SIZE
    gpu.capturing = True
    assert train(kept) is lists and gpu.counted == 1


def test_views_share_the_budget_and_give_it_back(gpu):
    set_weight_budget(2 * SIZE + 1)
    views = [KeptWeights() for _ in range(3)]
    kept = [(train(view), train(view))[1] is not None for view in views]
    assert kept == [True, True, False]
    assert train(views[2]) is None and gpu.counted == 3  # not counted again under the same limit
    del views[0]
    late = KeptWeights()
    assert (train(late), train(late))[1] is not None
