import pytest
import torch

from workspace import InputError
from workspace.device import chosen_device


def test_a_gpu_that_is_not_there_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"--device cuda: torch finds no CUDA device\. Use --device auto"):
        chosen_device("cuda")
    assert chosen_device("auto") == chosen_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device("auto") == chosen_device("cuda") == torch.device("cuda")
