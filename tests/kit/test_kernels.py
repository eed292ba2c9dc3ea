"""Compiled loops: the same numbers as the Python they were made of."""
import numpy as np
import pytest
import torch

from paper_kit.kit.kernels import compiled, runs_compiled

pytest.importorskip("numba")


def _square(x): return x*x


def _lengths(x, found):
    for i in range(len(x)):
        total = x[i, 0] - x[i, 0]
        for j in range(x.shape[1]): total += _square(x[i, j])
        found[i] = np.sqrt(total)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_and_plain_agree_to_the_last_bit(dtype):
    x = np.random.default_rng(0).normal(size=(200, 7)).astype(dtype)
    plain, fast = np.empty(200, dtype), np.empty(200, dtype)
    _lengths(x, plain)
    compiled(_lengths, _square)(x, fast)
    assert (plain == fast).all() and compiled(_lengths, _square) is compiled(_lengths, _square)


def test_a_function_of_no_file_is_compiled_too():
    scope = {}
    exec("def half(x): return x/2", scope)
    assert compiled(scope["half"])(3.0) == 1.5


def test_where_kernels_run():
    assert runs_compiled(torch.zeros(1)) and not runs_compiled(torch.zeros(1, device="meta"))
