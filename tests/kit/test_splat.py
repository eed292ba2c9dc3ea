"""Pictures of points against naive double loops, finite differences and what can be worked out by hand."""
import math

import numpy as np
import pytest
import torch

from paper_kit.kit import splat as s
from paper_kit.kit.files import PaperKitError

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
H, W = 6, 7


def cloud(*batch, n=9, seed=0, dtype=torch.float64):
    "Pixels in and somewhat outside the image, depths 1 to 3, colours."
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*batch, n, *shape, generator=g, dtype=torch.float64)
    return (draw(2)*torch.tensor([W + 3.0, H + 3.0]) - 1.5).to(dtype), (1 + 2*draw()).to(dtype), draw(3).to(dtype)


def naive_mask(p, variance, weights=None):
    out = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            total = sum((1 if weights is None
                         else float(weights[n]))*math.exp(-((x - j - .5)**2 + (y - i - .5)**2)/(2*variance)) for n,
                        (x, y) in enumerate(p.tolist()))
            out[i, j] = math.tanh(total)
    return out


def naive_color(p, z, rgb, beta, radius, background):
    out = np.full((3, H, W), float(background))
    for i in range(H):
        for j in range(W):
            inside = [n for n, (x, y) in enumerate(p.tolist()) if abs(x - j - .5) < radius and abs(y - i - .5) < radius]
            if inside:
                w = torch.softmax(beta/(z[inside].double() + 1), 0).numpy()
                out[:, i, j] = w @ rgb[inside].double().numpy()
    return out


def naive_volume(p, z, levels, variance, depth_variance, weight):
    out = np.zeros((len(levels), H, W))
    for k, d in enumerate(levels.tolist()):
        for i in range(H):
            for j in range(W):
                out[k, i, j] = min(1, weight*sum(math.exp(-((x - j - .5)**2 + (y - i - .5)**2)/(2*variance)
                                                          - (zz - d)**2/(2*depth_variance)) for (x, y),
                                                 zz in zip(p.tolist(), z.tolist())))
    return out


@both
def test_projections_agree_with_double_loops(dtype):
    p, z, rgb = cloud(2, 3, dtype=dtype)
    levels, tight = torch.linspace(0.8, 3.2, 5, dtype=dtype), 1e-5 if dtype == torch.float32 else 1e-12
    weights = torch.rand(2, 3, 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)
    masks, weighted = s.soft_mask(p, H, W, 0.6), s.soft_mask(p, H, W, 0.6, weights)
    colors, volume = (s.soft_color(p, z, rgb, H, W, beta=20.0, radius=1.2, background=0.3),
                      s.occupancy(p, z, H, W, levels, 0.7, weight=0.8))
    assert (masks.dtype == colors.dtype == volume.dtype == dtype and masks.shape == (2, 3, H, W)
            and colors.shape == (2, 3, 3, H, W) and volume.shape == (2, 3, 5, H, W))
    for a in range(2):
        for b in range(3):
            np.testing.assert_allclose(masks[a, b], naive_mask(p[a, b], 0.6), atol=tight)
            np.testing.assert_allclose(weighted[a, b], naive_mask(p[a, b], 0.6, weights[a, b]), atol=tight)
            np.testing.assert_allclose(colors[a, b], naive_color(p[a, b], z[a, b], rgb[a, b], 20.0, 1.2, 0.3),
                                       atol=20*tight)
            np.testing.assert_allclose(volume[a, b], naive_volume(p[a, b], z[a, b], levels, 0.7, 0.7*0.6**2, 0.8),
                                       atol=tight)


def test_gradients_by_finite_differences():
    p, z, rgb = (t.requires_grad_() for t in cloud(2, n=4))
    weights, levels = (torch.rand(2, 4, dtype=torch.float64, requires_grad=True),
                       torch.linspace(0.8, 3.2, 4, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda p, w: s.soft_mask(p, H, W, 0.5, w), (p, weights))
    assert torch.autograd.gradcheck(lambda z, c: s.soft_color(p.detach(), z, c, H, W, beta=10.0), (z, rgb))
    assert torch.autograd.gradcheck(lambda p, z: s.end_rays(s.occupancy(p, z, H, W, levels, 0.5, weight=0.3),
                                                            levels)[:2], (p, z))
    assert torch.autograd.gradcheck(lambda z, c: s.stamp(p.detach(), z, c, H, W)[:2], (z, rgb))


def test_one_cloud_broadcasts_over_views():
    p, z, rgb = cloud(3)
    one = rgb[0]
    assert torch.equal(s.soft_color(p, z, one, H, W)[1], s.soft_color(p[1], z[1], one, H, W))
    assert torch.equal(s.stamp(p, z, one, H, W).color[2], s.stamp(p[2], z[2], one, H, W).color)


def test_beta_of_the_published_code_survives_float32():
    "exp(100/(1e-3)) overflows anything; shifted weights do not, and the nearest point wins."
    p = torch.tensor([[2.5, 2.5], [2.5, 2.5], [5.5, 2.5]])
    z, rgb = torch.tensor([1e-3, 4.0, 30.0]), torch.eye(3)
    picture = s.soft_color(p, z, rgb, H, W, beta=100.0, radius=0.6).requires_grad_()
    assert torch.isfinite(picture).all()
    np.testing.assert_allclose(picture[:, 2, 2].detach(), [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(picture[:, 2, 5].detach(), [0, 0, 1], atol=1e-6)         # alone in its well, however far
    assert (picture[:, 0] == 0).all()


def test_silhouette_of_one_point_by_hand():
    mask = s.soft_mask(torch.tensor([[3.5, 2.5]], dtype=torch.float64), H, W, 0.4)
    assert (abs(mask[2, 3] - math.tanh(1)) < 1e-12 and abs(mask[2, 4] - math.tanh(math.exp(-1/0.8))) < 1e-12
            and abs(mask[3, 4] - math.tanh(math.exp(-2/0.8))) < 1e-12)


def test_rays_end_by_hand():
    levels = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    # three rays
    volume = torch.tensor([[0.5, 0.0, 1.0], [0.5, 0.0, 0.7], [0.0, 0.0, 0.2]], dtype=torch.float64)[:, None]
    end = s.end_rays(volume, levels)
    np.testing.assert_allclose(end.mask, [[0.75, 0, 1]])
    # far lies one spacing behind the last level
    np.testing.assert_allclose(end.depth, [[0.5*1 + 0.25*2 + 0.25*4, 4, 1]])
    np.testing.assert_allclose(end.probability[:, 0, 0], [0.5, 0.25, 0])
    np.testing.assert_allclose(s.end_rays(volume, levels, far=10.0).depth, [[0.5*1 + 0.25*2 + 0.25*10, 10, 1]])
    full = volume.requires_grad_()
    s.end_rays(full, levels).depth.sum().backward()
    assert torch.isfinite(full.grad).all()                                        # also where a ray is stopped for good


def test_stamps_keep_the_order_of_depth():
    p, z, rgb = cloud(2, n=40)
    got = s.stamp(p, z, rgb, H, W, radius=1.4, background=0.25)
    for b in range(2):
        for i in range(H):
            for j in range(W):
                over = [n for n in range(40) if abs(p[b, n, 0] - j - .5) < 1.4 and abs(p[b, n, 1] - i - .5) < 1.4]
                want = min(over, key=lambda n: float(z[b, n])) if over else -1
                assert got.index[b, i, j] == want
                np.testing.assert_allclose(got.color[b, :, i, j], rgb[b, want] if over else 0.25)
                assert got.depth[b, i, j] == (z[b, want] if over else 0)
    behind = s.stamp(p, -z, rgb, H, W)
    assert (behind.index == -1).all()
    same = s.stamp(torch.full((3, 2), 2.5), torch.ones(3), torch.eye(3), H, W)
    assert same.index[2, 2] == 0


def test_points_outside_are_not_wrapped_around():
    p = torch.tensor([[-0.4, 2.5], [W + 0.4, 2.5], [3.5, -0.4], [3.5, H + 0.4]], dtype=torch.float64)
    got = s.stamp(p, torch.ones(4, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64), H, W, radius=1.0)
    assert sorted(got.index.unique().tolist()) == [-1, 0, 1, 2, 3]
    assert (got.index[2, 0] == 0 and got.index[2, W - 1] == 1 and got.index[0, 3] == 2 and got.index[H - 1, 3] == 3
            and (got.index >= 0).sum() == 4)


def test_bad_inputs_say_what_is_wrong():
    p, z, rgb = cloud(2)
    with pytest.raises(PaperKitError, match="no pixels of points"): s.soft_mask(p[..., :1], H, W)
    with pytest.raises(PaperKitError, match="no pixels of points"): s.soft_mask(p, 0, W)
    with pytest.raises(PaperKitError, match="weights"): s.soft_mask(p, H, W, weights=z[:, :5])
    with pytest.raises(PaperKitError, match="colors"): s.soft_color(p, z, rgb[:, :4], H, W)
    with pytest.raises(PaperKitError, match="depth"): s.soft_color(p, z.float(), rgb, H, W)
    with pytest.raises(PaperKitError, match="levels"): s.occupancy(p, z, H, W, torch.tensor([1.0], dtype=torch.float64))
