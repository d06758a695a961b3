"""The KV cache of the reference: arrays that fill up token by token."""

from typing import Any

import numpy as np

from kvlib.checks import whole
from kvlib.reference.tally import Array, Tally
from kvlib.workload import Attention, Transformer

__all__ = ["Cache"]


class Cache:
    """Keys and values of each layer, in arrays with room for `capacity` tokens a sequence."""

    def __init__(self, model: Transformer, tally: Tally, batch: int, capacity: int, dtype: Any):
        whole(batch=batch, capacity=capacity)
        self.batch, self.capacity, self.length = batch, capacity, 0
        self.layers: list[list[Array]] = []
        for layer in model.layers:
            attention = layer.attention
            if isinstance(attention, Attention):  # keys and values of each KV head
                shapes = [(attention.kv_heads, attention.head_dim)] * 2
            else:  # one row for all heads
                shapes = [(1, attention.kv_elements)]
            empty = [np.zeros((batch, capacity, *shape), dtype) for shape in shapes]
            self.layers.append([tally.place(array, "kv") for array in empty])
