import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from paper_kit.kit.claims import (above, all_of, at_least, below, custom, less, mean_interval, more, none_of, rank_correlation, share_above, sign_test,
                                  wilson, within)
from paper_kit.kit.files import PaperKitError


def verdict(predicate, **values):
    return predicate.evaluate(values).verdict


def test_the_three_verdicts_of_a_comparison():
    assert verdict(less("a", "b"), a=[1, 1.1, 0.9], b=[2, 2, 2]) == "holds"
    assert verdict(less("a", "b"), a=[3, 3.1, 2.9], b=[2, 2, 2]) == "fails"
    assert verdict(less("a", "b"), a=[1, 3, 2.1], b=[2, 2, 2]) == "undecided"
    assert verdict(less("a", "b"), a=[1, 1], b=[2, 2]) == "undecided"           # two seeds never decide
    assert verdict(less("a", "b", factor=0.5), a=[1.2, 1.3, 1.2], b=[2, 2, 2]) == "fails"
    assert verdict(more("a", "b", factor=1.5), a=[3.2, 3.3, 3.2], b=[2, 2, 2]) == "holds"


def test_equality_is_not_less():
    assert verdict(less("a", "b"), a=[2, 2, 2], b=[2, 2, 2]) == "fails"


def test_thresholds_and_exact_values():
    assert verdict(below("e", 1e-6, exact=True), e=1e-7) == "holds"
    assert verdict(below("e", 1e-6, exact=True), e=[1e-7, 1e-5]) == "fails"        # the worst decides
    assert verdict(above("e", 0.95), e=[0.97, 0.971, 0.969]) == "holds"
    assert verdict(within("z", 2.0, 0.1), z=[1.98, 2.01, 2.02]) == "holds"
    assert verdict(within("z", 2.0, 0.1, exact=True), z=2.2) == "fails"
    assert verdict(none_of("violations"), violations=0) == "holds"
    assert verdict(none_of("violations"), violations=1) == "fails"


def test_the_interval_is_students():
    x = np.array([1.0, 2.0, 4.0, 3.0])
    expected = stats.t.interval(0.95, 3, loc=x.mean(), scale=stats.sem(x))
    assert np.allclose(mean_interval(x), expected)
    assert mean_interval([1.0]) == (-np.inf, np.inf)


def test_wilson_agrees_with_scipy():
    for k, n in ((0, 10), (3, 10), (10, 10), (80, 100)):
        r = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert np.allclose(wilson(k, n), (r.low, r.high))


def test_signs_shares_and_ranks():
    assert verdict(sign_test("a", "b"), a=[0]*20, b=[1]*18 + [-1]*2) == "holds"
    assert verdict(sign_test("a", "b"), a=[0]*20, b=[-1]*18 + [1]*2) == "fails"
    assert verdict(sign_test("a", "b"), a=[0]*20, b=[1]*11 + [-1]*9) == "undecided"
    assert verdict(sign_test("a", "b"), a=[1, 1, 1], b=[1, 1, 1]) == "undecided"   # ties only
    assert verdict(share_above("hit", 0.5), hit=[1]*50) == "holds"
    assert verdict(share_above("hit", 0.99), hit=[1]*40 + [0]*10) == "fails"
    grid = [1, 2, 3, 4, 5]
    assert verdict(rank_correlation("x", "y", below=-0.9), x=grid, y=[[5, 4, 3, 2, 1]]*3) == "holds"
    assert verdict(rank_correlation("x", "y", below=-0.9), x=grid, y=[[1, 2, 3, 4, 5]]*3) == "fails"
    with pytest.raises(TypeError):
        rank_correlation("x", "y")


def test_combinations():
    good, bad, doubt = {"a": [1, 1.1, 0.9]}, {"a": [3, 3.1, 2.9]}, {"a": [1, 3.5, 2]}
    p = below("a", 2)
    assert (p & p).evaluate(good).verdict == "holds" and (p & above("a", 0)).evaluate(bad).verdict == "fails"
    assert all_of(p, above("a", 0)).evaluate(doubt).verdict == "undecided"
    three = at_least(2, below("a", 2), below("b", 2), below("c", 2))
    assert three.evaluate({"a": good["a"], "b": good["a"], "c": bad["a"]}).verdict == "holds"
    assert three.evaluate({"a": bad["a"], "b": good["a"], "c": bad["a"]}).verdict == "fails"
    assert three.evaluate({"a": doubt["a"], "b": good["a"], "c": bad["a"]}).verdict == "undecided"


def test_booleans_nan_and_missing_values_are_refused_by_name():
    with pytest.raises(PaperKitError, match="'a' is a boolean"):
        verdict(below("a", 1, exact=True), a=True)
    with pytest.raises(PaperKitError, match="'a' cannot be judged"):
        verdict(below("a", 1), a=[0.1, float("nan"), 0.2])
    with pytest.raises(PaperKitError, match="needs the value 'a'"):
        verdict(below("a", 1), b=[1])
    with pytest.raises(PaperKitError, match="single number"):
        verdict(below("a", 1), a=0.5)
    with pytest.raises(TypeError, match="boolean"):
        verdict(custom(lambda v: v["a"] < 1, "a < 1"), a=[0.1, 0.2, 0.3])


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=12))
def test_a_predicate_and_its_opposite_never_both_hold(values):
    assert not (verdict(below("a", 0), a=values) == "holds" and verdict(above("a", 0), a=values) == "holds")
