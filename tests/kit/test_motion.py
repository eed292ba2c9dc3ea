"""Clips of motion capture: rotations, the tree, what a walker does, faults."""
import json
from types import SimpleNamespace

import pytest
import torch

from paper_kit.kit import motion
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.motion import BODIES, PARENTS, Clip, read_clip


def test_world_rotations_by_hand():
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    R = torch.eye(3, dtype=torch.float64).repeat(1, 13, 1, 1)
    R[0, 0] = R[0, BODIES.index("right hip")] = R[0, BODIES.index("right knee")] = quarter
    G = Clip(torch.zeros(1, 3), R).world()[0]
    for body, turns in (("root", 1), ("chest", 1), ("right hip", 2), ("right knee", 3), ("right ankle", 3),
                        ("left elbow", 1)):
        torch.testing.assert_close(G[BODIES.index(body)], torch.linalg.matrix_power(quarter, turns))
    assert len(BODIES) == len(PARENTS) == 13 and all(p < k for k, p in enumerate(PARENTS))


def test_a_walker_walks():
    pytest.importorskip("pybullet_data")
    clip = read_clip("walk")
    assert clip.root.dtype == torch.float64 and clip.rotations.shape == (len(clip.root), 13, 3, 3)
    torch.testing.assert_close(clip.rotations @ clip.rotations.mT,
                               torch.eye(3, dtype=torch.float64).expand_as(clip.rotations), atol=1e-9, rtol=0)
    assert (torch.linalg.det(clip.rotations) > 0).all()
    assert clip.root[-1, 0] - clip.root[0, 0] > 0.5 and 0.7 < clip.root[:, 1].min() < clip.root[:, 1].max() < 1.0
    with pytest.raises(PaperKitError, match="walk"): read_clip("swim")


def test_without_the_package_and_with_a_broken_file(tmp_path, monkeypatch):
    monkeypatch.setattr(motion.importlib.util, "find_spec", lambda name: None)
    assert read_clip("walk") is None
    (tmp_path/"data"/"motions").mkdir(parents=True)
    monkeypatch.setattr(motion.importlib.util, "find_spec",
                        lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    for text in ("not JSON", json.dumps({"Frames": [[1, 2], [3]]}), json.dumps({"frames": []})):
        (tmp_path/"data"/"motions"/"humanoid3d_walk.txt").write_text(text)
        with pytest.raises(PaperKitError, match="cannot be read"): read_clip("walk")
