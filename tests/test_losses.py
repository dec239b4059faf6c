import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from training.losses import photometric_loss, psnr
from training.ssim import ssim


def _pictures(height=37, width=29, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, height, width, generator=generator, dtype=dtype)
    image = (target + 0.2 * torch.randn(3, height, width, generator=generator, dtype=dtype)).clamp(0, 1)
    return image, target


def test_ssim_of_a_picture_with_itself_is_one():
    image, _ = _pictures()
    assert ssim(image, image).item() == pytest.approx(1, abs=1e-6)  # float32 rounding of the variance


def test_ssim_agrees_with_scikit_image_away_from_the_border():
    """scikit-image has another border rule, so the pictures fade to black well inside it, where both see zeros."""
    image, target = _pictures(80, 70)
    frame = torch.zeros(3, 80, 70)
    frame[:, 15:-15, 15:-15] = 1
    image, target = image * frame, target * frame
    expected = structural_similarity(
        image.permute(1, 2, 0).numpy().astype(np.float64),
        target.permute(1, 2, 0).numpy().astype(np.float64),
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1].mean()
    assert ssim(image, target).item() == pytest.approx(expected, abs=2e-6)  # ours is float32, theirs float64


def test_ssim_gradient_is_the_derivative():
    image, target = _pictures(13, 9, torch.float64)
    image.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ssim(x, target), (image,))


def test_loss_is_the_published_mixture():
    image, target = _pictures()
    expected = 0.8 * (image - target).abs().mean() + 0.2 * (1 - ssim(image, target))
    torch.testing.assert_close(photometric_loss(image, target), expected)


@pytest.mark.parametrize("ssim_weight", [0.0, 0.2, 1.0])
def test_plane_by_plane_gradient_equals_the_one_in_float64(ssim_weight):
    """Pictures of two sizes, so that scratch memory is exchanged, and one pixel without a difference."""
    for height, width in ((37, 29), (13, 64)):
        image, target = _pictures(height, width)
        target[:, 5, 6] = image[:, 5, 6]
        grads = []
        for dtype in (torch.float32, torch.float64):
            x = image.detach().to(dtype).requires_grad_()
            (3 * photometric_loss(x, target.to(dtype), ssim_weight)).backward()
            grads.append(x.grad.double())
        # float32 cancellation in the variances, where gradients are near 1e-3
        torch.testing.assert_close(*grads, atol=2e-8, rtol=1e-4)


def test_psnr_of_a_known_error():
    target = torch.full((3, 4, 5), 0.5)
    assert psnr(target + 0.1, target) == pytest.approx(20, abs=1e-4)  # float32 square of 0.1
