"""Similarity of images against scikit-image, by hand, and where it must refuse."""
import math

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from paper_kit.kit.files import PaperKitError
from paper_kit.kit.images import frechet_distance, psnr, ssim, ssim_map


def two(seed: int = 0):
    photo = torch.from_numpy(data.astronaut()[100:164, 180:260]/255.).movedim(-1, 0)
    return photo, (photo + 0.1*torch.randn(photo.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)


@pytest.mark.parametrize("peak", [1.0, 2.0])
def test_structural_similarity_is_that_of_scikit_image(peak):
    a, b = (x*peak for x in two())
    _, theirs = structural_similarity(a.numpy(), b.numpy(), full=True, channel_axis=0, data_range=peak, sigma=1.5,
                                      gaussian_weights=True, use_sample_covariance=False)
    ours = ssim_map(a, b, peak=peak, border="valid")
    np.testing.assert_allclose(ours, theirs.mean(0)[5:-5, 5:-5], atol=1e-9)
    np.testing.assert_allclose(ssim_map(a, b, peak=peak)[5:-5, 5:-5], ours, atol=1e-9)


def test_a_small_window_is_the_formula_at_each_place():
    a, b = (x[:1, :9, :8] for x in two())
    g = torch.exp(-(torch.arange(7.).double() - 3)**2/(2*1.5**2))
    g = torch.outer(g, g)/g.sum()**2
    for i, j in ((0, 0), (2, 1)):
        x, y = a[0, i:i + 7, j:j + 7], b[0, i:i + 7, j:j + 7]
        mx, my = (g*x).sum(), (g*y).sum()
        vx, vy, c = (g*(x - mx)**2).sum(), (g*(y - my)**2).sum(), (g*(x - mx)*(y - my)).sum()
        wanted = (2*mx*my + 1e-4)*(2*c + 9e-4)/((mx**2 + my**2 + 1e-4)*(vx + vy + 9e-4))
        assert ssim_map(a, b, window=7, border="valid")[i, j].item() == pytest.approx(wanted.item(), abs=1e-9)


def test_equal_pictures_have_one_and_batches_are_single_pictures_together():
    a, b = two()
    assert torch.allclose(ssim_map(a, a), torch.ones(64, 80, dtype=a.dtype))
    together = ssim(torch.stack([a, b]), torch.stack([b, b]))
    assert torch.allclose(together, torch.stack([ssim(a, b), ssim(b, b)]))
    assert torch.allclose(ssim(torch.stack([a, b]), b), together), "batch axes broadcast"


def test_the_gradient_of_the_similarity_is_right():
    a, b = (x[:, :13, :12].double() for x in two())
    b.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ssim(a, x), b)


def test_signal_to_noise_by_hand_and_by_scikit_image():
    a, b = two()
    assert math.isclose(psnr(a, b), peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1), rel_tol=1e-6)
    assert psnr(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.1)).item() == pytest.approx(20)
    assert psnr(a, a) == math.inf


@pytest.mark.parametrize("wrong", [dict(window=81), dict(window=10)])
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(PaperKitError): ssim_map(*two(), **wrong)
    with pytest.raises(PaperKitError): ssim_map(torch.zeros(3, 20, 20), torch.zeros(3, 20, 21))


def test_the_frechet_distance_of_gaussians_and_its_invariances():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(300, 5, generator=g), torch.randn(200, 5, generator=g)*2 + 1
    from scipy.linalg import sqrtm
    sa, sb = (np.cov(x.double().numpy().T) for x in (a, b))
    means = ((a.double().mean(0) - b.double().mean(0))**2).sum().item()
    assert frechet_distance(a, b) == pytest.approx(means + np.trace(sa + sb - 2*sqrtm(sa @ sb)).real, rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=g))[0]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-5)
    line = torch.tensor([[-1.], [1.]])                             # by hand: variances 2 and 8, means 0 and 3
    assert frechet_distance(line, 2*line + 3) == pytest.approx(9 + (8**0.5 - 2**0.5)**2)
