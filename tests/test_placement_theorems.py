"""The theorems of chapter 17, on thousands of random instances.

Numbers as in the chapter: w work, e rates, s striping shares, G the largest gain.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from kvlib.placement import (
    best_time,
    blind_time,
    cut,
    largest_gain,
    roofline_rates,
    stripe_time,
)

thorough = settings(max_examples=1000)


@st.composite
def instances(draw, *, sites=None):
    """Work and rates: any rates at all, or those of rooflines."""
    pieces, count = draw(st.integers(1, 7)), sites or draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    work = 10 ** random.uniform(-1, 1, pieces)
    if draw(st.booleans()):
        return work, 10 ** random.uniform(-1.5, 1.5, (pieces, count))
    bandwidth, ridge = 10 ** random.uniform(-1, 1, count), 10 ** random.uniform(0, 2.5, count)
    return work, roofline_rates(10 ** random.uniform(0, 2.7, pieces), bandwidth, bandwidth * ridge)


@settings(max_examples=1000)
@given(instances())
def test_nature_beats_striping_beats_blindness_and_by_how_much_at_most(instance):
    work, rates = instance
    best, shares = best_time(work, rates)
    stripe, largest = stripe_time(work, rates), largest_gain(rates)
    assert_allclose(shares.sum(axis=1), 1, atol=1e-9)
    assert best <= stripe * (1 + 1e-9)
    assert stripe <= blind_time(work, rates) * (1 + 1e-9)
    assert stripe <= best * largest * (1 + 1e-7)
    assert largest <= rates.shape[1] * (1 + 1e-12)
    split = (shares > 1e-7).sum() - len(shares)  # of a vertex
    assert split <= rates.shape[1] - 1


@settings(max_examples=300)
@given(instances())
def test_the_largest_gain_is_reached(instance):
    _, rates = instance
    work = np.full(len(rates), 1e-9 * rates.min())
    chosen = np.argmax(rates / rates.sum(axis=1, keepdims=True), axis=0)
    for site, piece in enumerate(chosen):
        work[piece] += rates[piece, site]
    gain = stripe_time(work, rates) / best_time(work, rates)[0]
    assert_allclose(gain, largest_gain(rates), rtol=1e-6)


@st.composite
def rooflines(draw):
    """Rooflines whose ridges and reuses are powers of two, so that equal is equal."""
    pieces, sites = draw(st.integers(2, 5)), draw(st.integers(2, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    reuse, ridge = (2.0 ** random.integers(0, 8, n, endpoint=True) for n in (pieces, sites))
    bandwidth = 2.0 ** random.integers(-2, 2, sites, endpoint=True)
    if draw(st.booleans()):  # all above, or all below, every ridge
        reuse = reuse * ridge.max() if draw(st.booleans()) else ridge.min() / reuse
    return 10 ** random.uniform(-0.5, 0.5, pieces), reuse, bandwidth, ridge


@settings(max_examples=1000)
@given(rooflines())
def test_striping_is_optimal_if_and_only_if_reuse_is_alike_between_the_ridges(instance):
    work, reuse, bandwidth, ridge = instance
    rates = roofline_rates(reuse, bandwidth, bandwidth * ridge)
    alike = len(set(np.clip(reuse, ridge.min(), ridge.max()))) == 1
    gain = stripe_time(work, rates) / best_time(work, rates)[0]
    assert (np.linalg.matrix_rank(rates / rates.max(axis=0), tol=1e-9) == 1) == alike
    assert (gain < 1 + 1e-7) == alike, gain
    assert (largest_gain(rates) < 1 + 1e-12) == alike


@settings(max_examples=600)
@given(instances(sites=2))
def test_on_two_sites_one_cut_is_optimal(instance):
    work, rates = instance
    time, shares = cut(work, rates)
    assert_allclose(time, best_time(work, rates)[0], rtol=1e-7)
    assert np.count_nonzero((shares > 0).all(axis=1)) <= 1
    assert_allclose((work[:, None] * shares / rates).sum(axis=0).max(), time, rtol=1e-9)
    spread = np.ptp(rates[:, 0] / rates.sum(axis=1))
    assert stripe_time(work, rates) / time <= (1 + spread) * (1 + 1e-9)


@pytest.mark.parametrize("sites", [2, 3, 5])
def test_a_ladder_of_ridges_comes_close_to_the_number_of_sites(sites):
    steps = 1e8 ** np.arange(sites)
    rates = roofline_rates(steps, 1 / np.sqrt(steps), np.sqrt(steps))
    assert sites * 0.999 < largest_gain(rates) < sites


def test_the_blind_optimum_may_be_beaten_without_limit():
    rates = np.array([[1.0, 1e-3], [1e-3, 1.0]])
    assert blind_time([1, 1], rates) / best_time([1, 1], rates)[0] > 500


@pytest.mark.parametrize(
    ("reuse", "work", "ridge", "published"),
    [
        ([1, 8], [0.5, 0.5], 1, 1.16),
        ([1, 8], [0.5, 0.5], 8, 1.00),
        ([8, 32], [0.5, 0.5], 1, 1.17),
        ([8, 32], [0.5, 0.5], 8, 1.12),
        ([8, 242], [0.5, 0.5], 1, 1.24),
        ([8, 242], [0.5, 0.5], 8, 1.19),
        ([1, 64], [0.7, 0.3], 1, 1.44),
        ([1, 64], [0.7, 0.3], 8, 1.32),
    ],
)
def test_first_estimates_of_the_gain(reuse, work, ridge, published):
    rates = roofline_rates(reuse, [3.35, 13.4], [3.35 * 295, 13.4 * ridge])
    assert round(stripe_time(work, rates) / best_time(work, rates)[0], 2) == pytest.approx(
        published, abs=0.011
    )


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="one row of rates a piece"):
        stripe_time([1.0, 2.0], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="a cut divides two"):
        cut([1.0], [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=r"rates = -1\.0 must be"):
        largest_gain([[1.0, -1.0]])
