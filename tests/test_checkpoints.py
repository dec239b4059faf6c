import errno
import os
import signal
from pathlib import Path

import pytest
import torch

from autoencoder.kinds import write_compressor
from autoencoder.network import Autoencoder, published_widths
from scene.gaussian_model import GaussianModel
from training.densification import PARAMETERS
from training.rgb_state import RgbState
from workspace import InputError, ModelFolder
from workspace.resume import Resumable, load_checkpoint, save_checkpoint


def test_the_newest_by_number_replaces_the_older_and_other_stages_are_left_alone(tmp_path):
    model = ModelFolder(tmp_path)
    save_checkpoint(model, "language", 5, {"value": torch.tensor(5.0)})
    for iteration in (999_999, 1_000_000):  # one digit more than the padding
        save_checkpoint(model, "rgb", iteration, {"value": torch.tensor(float(iteration))})
    assert load_checkpoint(model, "rgb")["value"] == 1_000_000
    assert sorted(path.name for path in model.checkpoints.iterdir()) == ["language_published_000005.pth", "rgb_1000000.pth"]


def test_a_full_disk_is_reported_as_one_and_keeps_the_older_checkpoint(tmp_path, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    model = ModelFolder(tmp_path)
    save_checkpoint(model, "rgb", 1, {"value": torch.zeros(3)})
    save = torch.save

    def save_to_full_disk(state, _):
        with Path("/dev/full").open("wb") as full:
            save(state, full)

    monkeypatch.setattr(torch, "save", save_to_full_disk)
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the number is the point
        save_checkpoint(model, "rgb", 2, {"value": torch.zeros(1_000_000)})
    assert raised.value.errno == errno.ENOSPC
    assert [path.name for path in model.checkpoints.iterdir()] == ["rgb_000001.pth"]
    with pytest.raises(OSError) as raised:  # noqa: PT011 - likewise
        write_compressor(model.compressor, Autoencoder(*published_widths(512, 3)))
    assert raised.value.errno == errno.ENOSPC and not model.compressor.exists()


def test_a_cut_checkpoint_is_named_with_the_remedy(tmp_path):
    model = ModelFolder(tmp_path)
    path = save_checkpoint(model, "rgb", 1, {"value": torch.zeros(1_000)})
    path.write_bytes(path.read_bytes()[:2_000])
    with pytest.raises(
        InputError, match=r"rgb_000001.pth .*was cut short or damaged; expected the state of an interrupted rgb run. Delete it"
    ):
        load_checkpoint(model, "rgb")


def test_a_file_of_something_else_is_no_checkpoint(tmp_path):
    model = ModelFolder(tmp_path)
    model.checkpoints.mkdir()
    torch.save([1, 2], model.checkpoint("rgb", 1))
    with pytest.raises(InputError, match=r"rgb_000001.pth holds a list; expected the state of an interrupted rgb run. Delete it"):
        load_checkpoint(model, "rgb")


def test_a_second_process_that_deletes_first_does_no_harm(tmp_path, monkeypatch):
    model = ModelFolder(tmp_path)
    save_checkpoint(model, "rgb", 1, {"value": torch.zeros(3)})
    listing = ModelFolder.checkpoint_files

    def vanishing(*args):
        paths = listing(*args)
        if model.checkpoint("rgb", 1) in paths:
            model.checkpoint("rgb", 1).unlink()  # between the listing and the deletion
        return paths

    monkeypatch.setattr(ModelFolder, "checkpoint_files", vanishing)
    save_checkpoint(model, "rgb", 2, {"value": torch.ones(3)})
    assert load_checkpoint(model, "rgb")["value"].tolist() == [1, 1, 1]


def test_an_interruptible_loop_keeps_its_state_when_due_and_when_asked_to_stop(tmp_path):
    loop, kept = Resumable(ModelFolder(tmp_path), "rgb", {"iterations": 9}), []
    with pytest.raises(KeyboardInterrupt), loop.interruptible() as finished:
        for done in range(1, 10):
            if done == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            finished(done, lambda done=done: {"iteration": done}, due=done == 4)
            kept.append(sorted(path.name for path in (tmp_path / "checkpoints").glob("*")))
    assert kept[2] == [] and kept[3] == kept[5] == ["rgb_000004.pth"]
    assert loop.saved() == {"iteration": 7}
    with pytest.raises(InputError, match="interrupted rgb run with other settings"):
        Resumable(ModelFolder(tmp_path), "rgb", {"iterations": 8}).saved()


def _without(state, *keys):
    """A copy of `state` without the entry that the keys lead to."""
    head, *rest = keys
    return {k: _without(v, *rest) if k == head and rest else v for k, v in state.items() if k != head or rest}


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: {},
        lambda state: _without(state, "parameters", "means"),
        lambda state: _without(state, "adam", "means", "exp_avg"),
        lambda state: {**state, "queue": None},
        lambda state: {**state, "generator": torch.zeros(3)},
        lambda state: {**state, "parameters": {**state["parameters"], "quats": torch.zeros(2, 4)}},
        lambda state: {**state, "iteration": "x"},
    ],
)
def test_a_state_that_lacks_something_is_refused_with_the_remedy(tmp_path, damage):
    gaussians = GaussianModel.from_points(torch.rand(5, 3).numpy(), torch.zeros(5, 3).numpy())
    rates = dict.fromkeys(PARAMETERS, 0.1)
    state = RgbState.start(gaussians, rates, seed=0)
    sum(getattr(state.gaussians, name).square().sum() for name in PARAMETERS).backward()
    state.optimizer.step()
    saved = state.saved()
    assert RgbState.restored(saved, rates).iteration == 0
    loop = Resumable(ModelFolder(tmp_path), "rgb", {})
    path = save_checkpoint(loop.model, "rgb", 7, {"settings": {}, **damage(saved)})
    with (
        pytest.raises(InputError, match=rf"{path.name} does not hold the state of an interrupted rgb run .*Delete it"),
        loop.restoring(),
    ):
        RgbState.restored(loop.saved(), rates)
