import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from training.losses import _blur, photometric_loss, psnr, ssim


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


def test_fast_blur_equals_the_convolution():
    maps = torch.rand(2, 3, 23, 17)
    # Sums of 121 float32 products in another order.
    torch.testing.assert_close(_blur(maps), _blur(maps.double()).float(), atol=1e-6, rtol=0)


def test_loss_is_the_published_mixture():
    image, target = _pictures()
    expected = 0.8 * (image - target).abs().mean() + 0.2 * (1 - ssim(image, target))
    torch.testing.assert_close(photometric_loss(image, target), expected)


def test_psnr_of_a_known_error():
    target = torch.full((3, 4, 5), 0.5)
    assert psnr(target + 0.1, target) == pytest.approx(20, abs=1e-4)  # float32 square of 0.1
