"""The two compressors by themselves: the published network, its gradients, its files, and principal components."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from autoencoder.embeddings import Rows
from autoencoder.fitting import fit
from autoencoder.gradient import StepGradient
from autoencoder.kinds import read_compressor, write_compressor
from autoencoder.network import Autoencoder, published_widths
from autoencoder.pca import Moments
from autoencoder.recipes import Recipe
from autoencoder.reconstruction import measure
from workspace import InputError


def _unit(rows, width, seed=0, dtype=torch.float32):
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=dtype) + 0.5, dim=1)


def test_a_langsplat_checkpoint_encodes_and_decodes_as_published(shared):
    network = read_compressor(shared / "golden" / "autoencoder.pth")
    golden = np.load(shared / "golden" / "autoencoder.npz")
    assert (network.method, network.feature_width, network.code_width) == ("autoencoder", 512, 3)
    # 1e-5: float32 products of up to 512 terms in another order
    np.testing.assert_allclose(network.encode(torch.from_numpy(golden["x"])).numpy(), golden["encoded"], atol=1e-5)
    np.testing.assert_allclose(network.decode(torch.from_numpy(golden["encoded"])).numpy(), golden["decoded"], atol=1e-5)


def test_our_network_has_the_names_of_the_published_one(shared):
    published = torch.load(shared / "golden" / "autoencoder.pth", weights_only=True)
    ours = Autoencoder(*published_widths(512, 3)).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in published.items()}


def test_a_dinosplat_checkpoint_loads_and_is_known_to_expect_raw_tokens(tmp_path):
    """768-512-256-128-64-32-3 / 3-16-32-64-128-256-512-768, linear and ReLU in turn."""
    encoder, decoder = [768, 512, 256, 128, 64, 32, 3], [3, 16, 32, 64, 128, 256, 512, 768]
    layers = {
        name: list(zip(widths[1:], widths[:-1], strict=True)) for name, widths in (("encoder", encoder), ("decoder", decoder))
    }
    state = {name: torch.randn_like(value) for name, value in _layers(**layers).items()}
    torch.save(state, tmp_path / "best_ckpt.pth")
    network = read_compressor(tmp_path / "best_ckpt.pth")
    tokens = 45 * _unit(4, 768)
    x = tokens
    for i in range(6):
        x = x @ state[f"encoder.{2 * i}.weight"].T + state[f"encoder.{2 * i}.bias"]
        x = x.relu() if i < 5 else F.normalize(x, dim=1)
    torch.testing.assert_close(network.encode(tokens), x)
    assert network.foreign_tokens == "raw"
    ours = Autoencoder(*published_widths(768, 3), batch_norm=False).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in state.items()}


def test_widths_are_the_published_ones_and_never_narrower_than_the_code():
    assert published_widths(512, 3) == ([512, 256, 128, 64, 32, 3], [3, 16, 32, 64, 128, 256, 256, 512])
    assert published_widths(768, 3) == ([768, 512, 256, 128, 64, 32, 3], [3, 16, 32, 64, 128, 256, 512, 768])
    for feature_width in (8, 64, 100, 256, 1024):
        for code_width in (width for width in (3, 8, 16, 32, 64) if width <= feature_width):
            encoder, decoder = published_widths(feature_width, code_width)
            assert encoder[0] == decoder[-1] == feature_width and encoder[-1] == decoder[0] == code_width
            assert all(code_width <= width <= feature_width for width in encoder[1:-1] + decoder[1:-1])


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("axis", ["feature", "batch"])
@pytest.mark.parametrize("widths", [(48, 3), (33, 16), (12, 3)])
def test_the_written_step_is_the_loss_and_its_automatic_gradient(axis, widths, batch_norm):
    """In float64. Biases in front of a batch norm are left out: they change nothing, and ours are not moved."""
    torch.manual_seed(0)
    network = Autoencoder(*published_widths(*widths), batch_norm=batch_norm).double()
    reference = copy.deepcopy(network).train()
    x = _unit(20, widths[0], dtype=torch.float64)
    step = StepGradient(network, 20, axis, 0.3)
    network.train()
    loss = step(x)

    output = reference.decode(reference.encode(x))
    cosine = F.cosine_similarity(output, x, dim=1 if axis == "feature" else 0).mean()
    expected = F.mse_loss(output, x) + 0.3 * (1 - cosine)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    start = 0
    for (name, parameter), moved in zip(reference.named_parameters(), network.parameters(), strict=True):
        ours = step.gradients[start : start + parameter.numel()].view(parameter.shape)
        start += -(-parameter.numel() // 16) * 16
        before_norm = batch_norm and name.endswith("bias") and name.startswith("encoder") and parameter.grad.abs().max() < 1e-12
        if not before_norm:
            torch.testing.assert_close(ours, parameter.grad, rtol=1e-9, atol=1e-12)
        assert moved.data_ptr() >= step.parameters.data_ptr()
    for (name, ours), (_, theirs) in zip(network.named_buffers(), reference.named_buffers(), strict=True):
        if "running" in name:
            torch.testing.assert_close(ours, theirs)


def test_fitting_reconstructs_embeddings_that_three_numbers_can_hold():
    generator = torch.Generator().manual_seed(1)
    things = F.normalize(torch.randn(5, 40, generator=generator), dim=1)
    rows = F.normalize(things[torch.arange(600) % 5] + 0.05 * torch.randn(600, 40, generator=generator), dim=1)
    torch.manual_seed(0)
    network = Autoencoder(*published_widths(40, 3))
    recipe = Recipe(epochs=40, batch_size=32, lr=3e-3)
    fitted = measure(fit(network, rows[:500], rows[500:], recipe), Rows(rows[500:]))
    assert fitted.mean > 0.9 and 0.8 < fitted.percentile_5 <= fitted.mean  # the noise alone costs 0.05


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_stopped_and_continued_fitting_equals_an_uninterrupted_one(schedule):
    rows = _unit(200, 20)
    torch.manual_seed(0)
    network = Autoencoder(*published_widths(20, 3))
    recipe = Recipe(epochs=6, batch_size=16, lr=1e-2, schedule=schedule)
    whole = fit(copy.deepcopy(network), rows[:180], rows[180:], recipe)
    states = {}

    def stopped_after_three(epoch, state, **_):
        if epoch == 3:
            states[epoch] = copy.deepcopy(state())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(copy.deepcopy(network), rows[:180], rows[180:], recipe, finished=stopped_after_three)
    resumed = fit(copy.deepcopy(network), rows[:180], rows[180:], recipe, resume=states[3])
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_best_epoch_on_validation_is_kept():
    """A step size that wrecks the network from some epoch on: what is returned is at least as good as any epoch."""
    rows = _unit(200, 20)
    torch.manual_seed(0)
    network = Autoencoder(*published_widths(20, 3))
    recipes = [Recipe(epochs=epochs, batch_size=16, lr=0.5) for epochs in (1, 2, 4)]
    scores = [measure(fit(copy.deepcopy(network), rows[:180], rows[180:], recipe), Rows(rows[180:])).mean for recipe in recipes]
    assert scores == sorted(scores)


def test_components_found_in_parts_are_those_of_a_full_decomposition():
    rows = _unit(300, 24, dtype=torch.float64)
    moments = Moments(24, rows.device)
    for part in rows.split(70):
        moments.add(part)
    pca = moments.components(6)
    _, singular, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    # float32 storage: 1e-6. Directions are unique up to sign.
    torch.testing.assert_close(pca.mean.double(), rows.mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close((pca.directions.double() @ directions[:6].T).abs(), torch.eye(6).double(), rtol=0, atol=1e-5)
    assert pca.scale.item() == pytest.approx((singular[:6].square().sum() / 300).sqrt().item(), rel=1e-5)
    codes = pca.encode(rows.float())
    assert codes.square().sum(1).mean().item() == pytest.approx(1, rel=1e-4)
    everything = moments.components(24)
    torch.testing.assert_close(everything.decode(everything.encode(rows.float())), rows.float(), rtol=0, atol=1e-5)


def test_more_components_never_reconstruct_worse():
    rows = _unit(300, 24)
    moments = Moments(24, rows.device)
    moments.add(rows)
    scores = [measure(moments.components(width), Rows(rows)).mean for width in (3, 8, 16, 24)]
    assert scores == sorted(scores) and scores[-1] > 0.9999


def test_compressors_come_back_from_their_files(tmp_path):
    rows = _unit(50, 24)
    moments = Moments(24, rows.device)
    moments.add(rows)
    for compressor in (Autoencoder(*published_widths(24, 4)).eval(), moments.components(4)):
        write_compressor(tmp_path / "compressor.pth", compressor)
        found = read_compressor(tmp_path / "compressor.pth")
        assert type(found) is type(compressor)
        torch.testing.assert_close(found.encode(rows), compressor.encode(rows).detach())


def _layers(**halves):
    """State dict of linear layers of these (outputs, inputs)."""
    return {
        f"{half}.{2 * i}.{name}": torch.zeros(shape if name == "weight" else shape[:1])
        for half, shapes in halves.items()
        for i, shape in enumerate(shapes)
        for name in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not weights", "is not a file of PyTorch"),
        ([1, 2], "holds a list"),
        ({"encoder.0.weight": torch.zeros(3, 8)}, "no encoder.<i>.weight and decoder.<i>.weight"),
        ({"encoder.0.weight": torch.zeros(3, 8), "decoder.0.weight": torch.zeros(8, 3)}, "Missing key"),
        (
            {"mean": torch.zeros(8), "directions": torch.zeros(2, 7), "scale": torch.ones(())},
            r"expected mean \[d\], directions \[c, d\]",
        ),
        ({"mean": torch.zeros(8), "directions": torch.zeros(2, 8), "scale": torch.ones(3)}, r"scale \[\]"),
        ({"mean": torch.zeros(8), "directions": torch.zeros(2, 8), "scale": torch.zeros(())}, "the scale is 0.0"),
        ({"mean": torch.zeros(8).int(), "directions": torch.zeros(2, 8).int(), "scale": torch.ones(())}, "torch.int32"),
        ({"mean": torch.zeros(8), "directions": torch.full((2, 8), torch.nan), "scale": torch.ones(())}, "not finite"),
        ({"mean": torch.zeros(1).expand(10**9), "directions": torch.zeros(2, 8), "scale": torch.ones(())}, "declares 4000"),
        ({0: torch.zeros(3, 8), "decoder.0.weight": torch.zeros(8, 3)}, "not named tensors"),
        (_layers(encoder=[(3, 8)], decoder=[(8, 4)]), "takes 8 entries and gives 3, the decoder takes 4 and gives 8"),
        (_layers(encoder=[(0, 8), (3, 0)], decoder=[(8, 3)]), "encoder.0.weight .* is empty"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "best_ckpt.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=f"(?s)best_ckpt.pth .*{message}"):
        read_compressor(path)


def test_a_file_that_would_run_code_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    torch.save({"encoder.0.weight": Payload()}, tmp_path / "best_ckpt.pth")
    with pytest.raises(InputError, match="not safe to load"):
        read_compressor(tmp_path / "best_ckpt.pth")
    assert not (tmp_path / "ran").exists()
