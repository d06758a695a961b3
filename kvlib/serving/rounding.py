"""What rounding a cache does to attention: executed, not estimated.

Numbers are scaled so that the largest of a group is the largest the format holds, then rounded to
the nearest one it has. Groups are rows (a scale per token) or columns (a scale per channel).
:cite:t:`liu2024kivi` found that keys have channels of large values and that values have none; with
random numbers that has to be put in, as `cache_with_outliers` does.
"""

from typing import Any, Literal

import numpy as np

from kvlib.checks import choose, finite, positive, whole
from kvlib.reference import Reference
from kvlib.workload import Attention, Transformer

__all__ = ["attention_error", "cache_with_outliers", "logit_error", "rounded"]

Scale = Literal["token", "channel"]
_Array = np.ndarray[Any, np.dtype[Any]]

_HALVES = {"fp8": (4, 3), "fp4": (2, 1)}
"""Bits of exponent and mantissa: E4M3 and E2M1 :cite:`ocp2023mx`."""
_MOST_WEIGHTS = 100_000_000
_LARGEST = {"int8": 127.0, "int4": 7.0, "fp8": 448.0, "fp4": 6.0}


def rounded(rows: Any, precision: str, scale: Scale = "token") -> _Array:
    """Round tokens x channels to a format and back.

    Parameters
    ----------
    rows : array
        Keys or values, the last two axes tokens and channels.
    precision : {"int8", "int4", "fp8", "fp4"}
        Symmetric integers, or E4M3 and E2M1.
    scale : {"token", "channel"}
        What shares a scale.

    Raises
    ------
    UnknownName
        If the format or the kind of scale is unknown.
    ValueError
        If the rows are no matrix, or a number is not finite.

    Examples
    --------
    >>> rounded([[7.0, 3.4], [0.7, -0.2]], "int4").tolist()
    [[7.0, 3.0], [0.7, -0.2]]
    >>> rounded([[7.0, 3.4], [0.7, -0.2]], "int4", "channel").round(2).tolist()
    [[7.0, 3.4], [1.0, 0.0]]
    """
    choose(precision, _LARGEST, "format of a rounded cache")
    choose(scale, ["token", "channel"], "scale")
    finite(rows=rows)
    x = np.asarray(rows, dtype=float)
    if x.ndim < 2 or not x.size:
        raise ValueError(f"rows of shape {x.shape} must be tokens x channels, one or more of each.")
    largest = np.abs(x).max(axis=-1 if scale == "token" else -2, keepdims=True)
    unit = np.where(largest > 0, largest, 1.0) / _LARGEST[precision]
    scaled = x / unit
    if precision in _HALVES:
        bits, mantissa = _HALVES[precision]
        lowest = 2 - 2 ** (bits - 1)  # exponent of the subnormal numbers
        with np.errstate(divide="ignore"):
            exponent = np.maximum(np.floor(np.log2(np.abs(scaled))), lowest)
        grid = 2.0 ** (exponent - mantissa)
        return np.asarray(np.round(scaled / grid) * grid * unit)
    return np.asarray(np.round(scaled) * unit)


def cache_with_outliers(
    tokens: int, head_dim: int, *, outliers: int = 0, factor: float = 1.0, seed: int = 0
) -> tuple[_Array, _Array, _Array]:
    """Draw a query, keys and values of one head: normal, some key channels larger.

    Parameters
    ----------
    tokens, head_dim : int
        Rows and columns.
    outliers : int
        Channels of the keys that are `factor` times as large.
    factor : float
        How much larger.
    seed : int
        Seed.

    Returns
    -------
    query, keys, values : array
        Scores have a standard deviation near one, however large the outliers.
    """
    whole(tokens=tokens, head_dim=head_dim)
    whole(True, outliers=outliers)
    positive(factor=factor)
    if outliers > head_dim:
        raise ValueError(f"outliers = {outliers} of the channels must not exceed {head_dim}.")
    random = np.random.default_rng(seed)
    query, keys, values = (random.normal(size=(n, head_dim)) for n in (1, tokens, tokens))
    keys[:, :outliers] *= factor
    query[:, :outliers] /= factor
    return query, keys, values


def attention_error(query: Any, keys: Any, values: Any, new_keys: Any, new_values: Any) -> float:
    """Error of one head's attention with a changed cache, relative to its result.

    Raises
    ------
    ValueError
        If the changed cache has another shape, or the true result is zero.

    Examples
    --------
    >>> q, k, v = cache_with_outliers(1024, 128)
    >>> print(f"{attention_error(q, k, v, rounded(k, 'int8'), rounded(v, 'int8')):.1%}")
    1.1%
    """
    shapes = [np.shape(rows) for rows in (keys, new_keys, values, new_values)]
    if shapes[:1] + shapes[2:3] != shapes[1::2] or shapes[0][:1] != shapes[2][:1]:
        raise ValueError(f"keys and values of shapes {shapes} must be alike before and after.")
    true, seen = (_attend(query, *cache) for cache in ((keys, values), (new_keys, new_values)))
    if not np.any(true):
        raise ValueError("the true result is 0: no error is relative to it. Change the values.")
    return float(np.linalg.norm(seen - true) / np.linalg.norm(true))


def _attend(query: Any, keys: Any, values: Any) -> _Array:
    scores = query @ np.asarray(keys).T / np.sqrt(keys.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True) @ values)


def logit_error(
    model: Transformer,
    precision: str,
    *,
    keys: Scale = "token",
    values: Scale = "token",
    tokens: int = 64,
    seed: int = 0,
) -> float:
    """Error of the next token's scores after the cache of a running transformer was rounded.

    Parameters
    ----------
    model : Transformer
        A small one, with keys and values per head: it is executed, with random weights.
    precision : str
        Format, as in `rounded`.
    keys, values : {"token", "channel"}
        What shares a scale.
    tokens : int
        Length of the random prompt.
    seed : int
        Seed of weights and prompt.

    Returns
    -------
    float
        Norm of the change over the norm of the scores.

    Raises
    ------
    ValueError
        If the model has latent attention, or too many weights to be executed.
    UnknownName
        If the format or a scale is unknown.
    """
    whole(tokens=tokens)
    choose(precision, _LARGEST, "format of a rounded cache")
    for scale in (keys, values):
        choose(scale, ["token", "channel"], "scale")
    if model.parameters > _MOST_WEIGHTS:
        raise ValueError(
            f"{model.name!r} has {model.parameters} weights, all of which are executed: at most "
            f"{_MOST_WEIGHTS}. Take a smaller model."
        )
    if not all(isinstance(layer.attention, Attention) for layer in model.layers):
        raise ValueError(f"{model.name!r} has latent attention: only keys and values are rounded.")
    prompt = np.random.default_rng(seed).integers(model.vocabulary, size=(1, tokens + 1))
    scores = []
    for rounding in (False, True):
        running = Reference(model, seed)
        cache = running.cache(batch=1, capacity=tokens + 1)
        running.prefill(prompt[:, :-1], cache)
        for layer in cache.layers if rounding else []:
            for array, scale in zip(layer, (keys, values), strict=True):
                heads = np.asarray(array)[:, :tokens].swapaxes(1, 2)  # tokens x channels last
                heads[...] = rounded(heads, precision, scale)
        scores.append(running.decode(prompt[:, -1:], cache))
    return float(np.linalg.norm(scores[1] - scores[0]) / np.linalg.norm(scores[0]))
