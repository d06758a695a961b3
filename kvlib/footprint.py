"""What a rank must hold: its share of the weights, the cache of its sequences, and a reserve.

A state that does not fit is a value with its shortfall, so that a sweep can mask it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.checks import positive, whole
from kvlib.hardware import Device
from kvlib.operators import plain
from kvlib.parallel import Parallel
from kvlib.phases import decode_step
from kvlib.precision import element_size
from kvlib.step import Step
from kvlib.workload import Attention, Experts, Transformer

__all__ = ["Footprint", "cache_bytes", "fits", "tokens", "weight_bytes"]


@dataclass(frozen=True, eq=False)
class Footprint:
    """Bytes that the fullest rank needs, against those it has.

    Parameters
    ----------
    weights, cache, reserve : float or array
        Bytes of weights, of keys and values, and set aside for all else [B].
    capacity : float or array
        Bytes there are [B].

    Examples
    --------
    >>> state = Footprint(weights=60e9, cache=30e9, reserve=2e9, capacity=80e9)
    >>> state.fits, state.shortfall
    (False, 12000000000.0)
    """

    weights: Any
    cache: Any
    reserve: Any
    capacity: Any

    @property
    def needed(self) -> Any:
        """Bytes needed [B]."""
        return self.weights + self.cache + self.reserve

    @property
    def fits(self) -> Any:
        """Whether they are there."""
        return self.needed <= self.capacity

    @property
    def shortfall(self) -> Any:
        """Bytes missing; zero where it fits [B]."""
        return plain(np.maximum(self.needed - self.capacity, 0.0))

    @property
    def free_for_cache(self) -> Any:
        """Bytes that weights and reserve leave for keys and values; zero if none [B]."""
        return plain(np.maximum(self.capacity - self.weights - self.reserve, 0.0))


def fits(
    model: Transformer,
    *,
    capacity: Any,
    batch: Any,
    context: Any,
    reserve: Any = 0.0,
    weight_precision: Any = "fp16",
    kv_precision: Any = "fp16",
    parallel: Parallel | None = None,
) -> Footprint:
    """Compare what serving a batch takes with the memory of one rank.

    Parameters
    ----------
    model : Transformer
        The model.
    capacity : float or array
        Memory of one rank [B].
    batch, context : int or array
        Sequences of one tensor-parallel group, and tokens in the cache of each.
    reserve : float or array
        Bytes set aside for activations and the engine itself [B].
    weight_precision, kv_precision : str, float or array
        Formats, or bytes of one element [B].
    parallel : Parallel, optional
        Over how many ranks the model is split; one if not given. Of the pipeline stages, the one
        that needs most is returned.

    Raises
    ------
    ValueError
        If a size is not a whole number above zero, or the model cannot be split as asked.

    Examples
    --------
    >>> from kvlib import device, model
    >>> from kvlib.units import GB
    >>> h100 = device("h100-sxm-80gb").memory()
    >>> state = fits(model("llama-2-70b"), capacity=h100.capacity, batch=1, context=4096)
    >>> print(f"{state.fits}: {state.shortfall / GB:.1f} GB short")
    False: 59.3 GB short
    """
    parallel = parallel or Parallel()
    positive(capacity=capacity)
    positive(True, reserve=reserve)
    weights: Any = 0.0
    cache: Any = 0.0
    for stage in range(parallel.pipeline):
        its_weights = weight_bytes(
            model, weight_precision=weight_precision, parallel=parallel, stage=stage
        )
        its_cache = cache_bytes(
            model, batch=batch, context=context, kv_precision=kv_precision, parallel=parallel,
            stage=stage,
        )  # fmt: skip
        if stage == 0:
            weights, cache = its_weights, its_cache
            continue
        fuller = its_weights + its_cache > weights + cache
        weights = weights + fuller * (its_weights - weights)
        cache = cache + fuller * (its_cache - cache)
    return Footprint(weights, cache, reserve, capacity)


def weight_bytes(
    model: Transformer,
    *,
    weight_precision: Any = "fp16",
    parallel: Parallel | None = None,
    stage: int | None = None,
) -> Any:
    """Weights of one rank, in one pipeline stage or in all [B].

    Matrices are split over the tensor-parallel ranks, experts over theirs; norms, biases of the
    hidden state, routers, learned positions, replicated KV heads and the down-projections of MLA
    are on each rank. Without splitting these are all parameters of the model.

    Examples
    --------
    >>> from kvlib import model
    >>> weight_bytes(model("llama-2-7b")) / 2 == model("llama-2-7b").parameters
    True
    """
    parallel = parallel or Parallel()
    one = decode_step(
        model, batch=1, context=1, weight_precision=weight_precision, parallel=parallel
    )
    size = one.element_bytes.weights
    if stage is None:
        return sum(
            _stage_weights(model, one.stage(each), size, parallel)
            for each in range(parallel.pipeline)
        )
    return _stage_weights(model, one.stage(stage), size, parallel)


def _stage_weights(model: Transformer, step: Step, size: Any, parallel: Parallel) -> Any:
    """Weights that the operators of a stage read, all experts included, and its tables."""
    total: Any = 0.0
    for operator in step.operators:
        if operator.name == "embedding":
            total = total + _tables(model, parallel) * size
        elif operator.name == "lm_head" and model.tied_embeddings and "embedding" in step.names:
            continue  # the same table
        elif operator.name in ("expert_up", "expert_down"):
            network = model.layers[operator.layers[0]].feed_forward
            experts = network.count if isinstance(network, Experts) else 1
            held = experts / parallel.expert * operator.shape.n * operator.shape.k
            total = total + held * size * operator.count
        else:
            total = total + operator.total.weights
    return total


def _tables(model: Transformer, parallel: Parallel) -> Any:
    rows = plain(np.ceil(model.vocabulary / parallel.tensor))
    positions = model.max_context if model.position == "learned" else 0
    return (rows + positions) * model.hidden


def cache_bytes(
    model: Transformer,
    *,
    batch: Any,
    context: Any,
    kv_precision: Any = "fp16",
    parallel: Parallel | None = None,
    stage: int | None = None,
) -> Any:
    """Keys and values that one rank holds, in one pipeline stage or in all [B].

    A layer with a window keeps the tokens in it only. Engines without a rolling cache keep all.

    Examples
    --------
    >>> from kvlib import model
    >>> cache_bytes(model("llama-3-8b"), batch=8, context=8192) / 2**30
    8.0
    """
    parallel = parallel or Parallel()
    whole(batch=batch, context=context)
    size = element_size(kv_precision)
    stages = parallel.stages(len(model.layers))
    layers = range(len(model.layers)) if stage is None else stages[stage]
    total: Any = 0.0
    for layer in model.groups:
        count = sum(model.layers[index] == layer for index in layers)
        attention = layer.attention
        elements: Any = attention.kv_elements
        kept: Any = context
        if isinstance(attention, Attention):
            heads = parallel.kv_heads(heads=attention.heads, kv_heads=attention.kv_heads)
            elements = 2 * heads * attention.head_dim
            if attention.window is not None:
                kept = plain(np.minimum(context, attention.window))
        total = total + count * 1.0 * batch * kept * elements * size
    return total


def tokens(
    model: Transformer,
    device: Device,
    precision: str = "fp16",
    *,
    weight_precision: str | None = None,
) -> int:
    """Tokens whose keys and values the main memory of a device can hold.

    No window of the model counts as full, so this is the least for models that have windows.

    Parameters
    ----------
    model : Transformer
        The model.
    device : Device
        The device; its main memory is what counts.
    precision : str
        Format of keys and values.
    weight_precision : str, optional
        Format of the weights, where these stand in the same memory; without it they stand elsewhere
        and all of the memory is the cache's.

    Returns
    -------
    int
        Whole tokens; zero where the weights alone do not fit.

    Raises
    ------
    UnknownFigure
        If no source states the capacity.

    Examples
    --------
    >>> from kvlib import device, model
    >>> tokens(model("llama-3-8b"), device("h100-sxm-80gb"))
    610351
    >>> tokens(model("llama-3-8b"), device("h100-sxm-80gb"), weight_precision="fp16")
    487819
    """
    free = float(device.memory().capacity)
    if weight_precision is not None:
        free -= weight_bytes(model, weight_precision=weight_precision)
    return max(0, math.floor(free / model.kv_bytes_per_token(precision)))
