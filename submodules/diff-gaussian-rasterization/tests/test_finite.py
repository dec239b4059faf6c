"""Reports of NaN and infinity from a GPU, which is played by a fake, and hosts whose default device is another one."""

import ctypes
from types import SimpleNamespace

import pytest
import torch
from cuda_scenes import make_gaussians, make_view
from diff_gaussian_rasterization import finite, prepare, rasterize


class FakeGpu:
    """Keeps what is queued; `report` plays a search that finds something, however late."""

    def __init__(self):
        self.pages, self.queue = [], []

    def pinned_reports(self, target, count):
        self.pages.append((ctypes.c_int64 * count)())
        return ctypes.addressof(self.pages[-1])

    def watch_nonfinite(self, target, watched):
        self.queue.append(watched)

    def report(self, search, tensor, flat):
        slot = ctypes.c_int64.from_address(self.queue[search][tensor][2])
        slot.value = min(slot.value, flat)


@pytest.fixture
def gpu(monkeypatch):
    fake = FakeGpu()
    monkeypatch.setattr(finite, "_C", SimpleNamespace(pinned_reports=fake.pinned_reports, watch_nonfinite=fake.watch_nonfinite))
    return fake


def test_a_late_report_has_the_index_of_the_call_it_is_about(gpu):
    watch = finite._Watch()
    watch.start({"features": torch.zeros(100, 9)})
    watch.start({"features": torch.zeros(100, 3)})  # before the first search ran
    watch.raise_found()
    gpu.report(0, 0, 9 * 41 + 7)
    with pytest.raises(ValueError, match=r"features .* at index \[41, 7\]"):
        watch.raise_found()
    watch.raise_found()  # once


def test_one_search_covers_all_tensors_of_a_call_and_names_the_right_one(gpu):
    watch = finite._Watch()
    watch.start({"means": torch.zeros(10, 3), "sh_coeffs": torch.zeros(10, 16, 3), "opacities": torch.zeros(10)})
    assert len(gpu.queue) == 1
    gpu.report(0, 1, 48 * 3 + 3 * 5 + 2)
    with pytest.raises(ValueError, match=r"sh_coeffs .* \[3, 5, 2\]"):
        watch.raise_found()
    gpu.report(0, 2, 4)
    with pytest.raises(ValueError, match=r"opacities .* \[4\]"):
        watch.raise_found()


def test_there_is_room_for_any_number_of_shapes(gpu):
    watch = finite._Watch()
    for channels in range(1, 200):
        watch.start({"features": torch.zeros(5, channels)})
    assert len(gpu.pages) == 4
    gpu.report(150, 0, 151 * 2 + 1)
    with pytest.raises(ValueError, match=r"\[2, 1\]"):
        watch.raise_found()


def test_the_default_device_of_torch_does_not_matter():
    view, gaussians, features = make_view(), make_gaussians(50), torch.rand(50, 3, requires_grad=True)
    expected = rasterize(view, **gaussians, features=features).image
    with torch.device("meta"):  # stands for "cuda": nothing on it can be used on the host
        prepared = prepare(view, **gaussians)
        images = [rasterize(view, **gaussians, features=features).image, *(prepared.rasterize(features).image for _ in range(3))]
        assert prepared.num_pairs > 0 and prepared.kept_nbytes > 0
        with pytest.raises(ValueError, match=r"features holds nan at index \[0, 0\]"):
            prepared.rasterize(torch.full((50, 3), torch.nan, device="cpu"))
    assert torch.equal(images[0], expected)
    for image in images[1:]:  # training passes over a prepared view round weights to 12 bits; features are below 1
        torch.testing.assert_close(image, expected, rtol=0, atol=2**-12)
