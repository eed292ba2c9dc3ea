"""Draw the moving picture of README: the loss, and the line it fits among outliers, as the shape runs from 2 to -8.

    python scripts/readme_picture.py            writes data/readme.webp"""
import io
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

from paper_kit.kit.files import write_atomic  # noqa: E402
from paper_kit.learning.adaptive_robust_loss import fit_line, general_loss, weight  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SCALE, SHAPES = 0.15, np.concatenate([np.linspace(2, -2, 17), np.linspace(-2, -8, 7)[1:]])


def points(rng) -> tuple:
    "Thirty places on the line 0.2 + 0.6 t, a third of them moved up by much."
    t = np.linspace(0, 1, 30)
    y = 0.2 + 0.6*t + 0.04*rng.standard_normal(30)
    y[rng.choice(30, 10, replace=False)] += rng.uniform(0.5, 1.1, 10)
    return torch.from_numpy(t), torch.from_numpy(y)


def frames() -> list:
    t, y = points(np.random.default_rng(3))
    x, line, drawn = torch.linspace(-6, 6, 201, dtype=torch.float64), None, []
    for alpha in SHAPES:
        line = fit_line(t, y, torch.ones(30, dtype=torch.bool),
                        lambda r, a=float(alpha): weight(r, a, SCALE, validate=False), line)
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.7), dpi=110)
        left.plot(x, general_loss(x, float(alpha)), lw=2.5, color="#0d6986")
        left.set(ylim=(0, 6), xlabel="x / c", title=f"loss ρ(x, α, c), α = {alpha:.1f}")
        right.scatter(t, y, s=14, color="0.45")
        right.plot([0, 1], [0.2, 0.8], "--", color="0.6", lw=1.5)
        right.plot([0, 1], [line[0], line[0] + line[1]], color="#0d6986", lw=2.5)
        right.set(ylim=(0, 2), xlabel="t", title="the line it fits (dashed: the true one)")
        for ax in (left, right): ax.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(content := io.BytesIO(), format="png")
        plt.close(figure)
        drawn.append(Image.open(content).convert("RGB"))
    return drawn


if __name__ == "__main__":
    first, *rest = forth = frames()
    back, file = forth[-2:0:-2], io.BytesIO()
    first.save(file, format="WEBP", save_all=True, append_images=[*rest, *back], loop=0, quality=45, method=6,
               duration=[700] + [120]*(len(rest) - 1) + [700] + [80]*len(back))
    write_atomic(ROOT/"data"/"readme.webp", file.getvalue())
