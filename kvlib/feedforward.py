"""Feed-forward networks as named operators: dense ones, and mixtures of experts."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kvlib import elementwise
from kvlib.checks import positive
from kvlib.operators import GemmShape, Operator, Work, plain
from kvlib.parallel import Collective, shard
from kvlib.step import Pass
from kvlib.workload import Experts, FeedForward

__all__ = ["distinct_experts", "expert_operators", "feed_forward_operators"]


def feed_forward_operators(network: FeedForward, name: str, task: Pass) -> Iterator[Operator]:
    """Yield up, activation and down of a network that every token meets, in order."""
    hidden, bias = task.model.hidden, task.model.biases and name == "ffn"
    width = shard(network.width, task.parallel.tensor, f"{name} width")
    yield task.linear(f"{name}_up", hidden, (network.matrices - 1) * width, bias=bias)
    form = elementwise.activation
    yield task.elementwise(f"{name}_activation", form, task.tokens, width, gated=network.gated)
    yield task.linear(f"{name}_down", width, hidden, bias=bias)


def expert_operators(network: Experts, task: Pass) -> Iterator[Operator | Collective]:
    """Yield router, experts and what they have to send, in order.

    With experts spread over more ranks than share a layer, each token is sent to each expert it
    chose, one copy an expert, and the results come back the same way.

    Raises
    ------
    ValueError
        If experts or widths cannot be split as asked, or more experts are met than there are.
    """
    hidden, parallel, size = task.model.hidden, task.parallel, task.bytes
    whole_experts = parallel.expert > 1
    split = parallel.tensor * (1 - whole_experts) + whole_experts  # ranks that share one expert
    width = shard(network.width, split, "expert width")
    shard(network.count, parallel.expert, "experts")
    at_experts = task.tokens * parallel.groups
    pairs = task.tokens * network.active * split / parallel.tensor
    if task.distinct is None:
        distinct = distinct_experts(at_experts, network.count, network.active)
    else:
        distinct = _checked(task.distinct, network)
    here = distinct / parallel.expert

    def product(name: str, rows_read: Any, inputs: Any, outputs: Any) -> Operator:
        work = Work(
            flop=2 * pairs * (inputs * outputs),
            weights=here * (inputs * outputs) * size.weights,
            activations=(rows_read * inputs + pairs * outputs) * size.activations,
        )
        return Operator(name, "gemm", work, GemmShape(pairs / here, outputs, inputs, here))

    rows = plain(np.minimum(at_experts, pairs))  # a rank reads a token once, however many want it
    yield task.linear("router", hidden, network.count)
    yield task.elementwise(
        "routing", elementwise.routing, task.tokens, network.count, network.active
    )
    dispatched = parallel.expert > parallel.tensor
    sent = pairs * hidden * size.activations * dispatched
    if np.any(dispatched):
        yield Collective("all_to_all", parallel.expert, sent, "routing")
    yield product("expert_up", rows, hidden, (network.matrices - 1) * width)
    form = elementwise.activation
    yield task.elementwise("expert_activation", form, pairs, width, gated=network.gated)
    yield product("expert_down", pairs, width, hidden)
    if np.any(dispatched):
        yield Collective("all_to_all", parallel.expert, sent, "expert_down")
    combined = (pairs * hidden + pairs + task.tokens * hidden) * size.activations
    work = Work(flop=2 * pairs * hidden, activations=combined)
    yield Operator("expert_combine", "elementwise", work)
    if network.shared:
        width = network.shared * (network.shared_width or network.width)
        yield from feed_forward_operators(FeedForward(width, network.gated), "shared", task)
        yield task.elementwise("shared_add", elementwise.add, task.tokens, hidden)
    yield from task.all_reduce("shared_add" if network.shared else "expert_combine")


def distinct_experts(tokens: Any, count: int, active: int) -> Any:
    r"""Experts that at least one of some tokens meets, if each chooses uniformly.

    .. math:: E = n \left(1 - (1 - k / n)^\text{tokens}\right)

    exact for one token (k experts) and for uniform, independent choices of k different experts by
    each token. Real routing is skewed, and then fewer are met.

    Examples
    --------
    >>> print(f"{distinct_experts(64, 256, 8):.0f} of 256")
    222 of 256
    """
    return count * (1 - (1 - active / count) ** tokens)


def _checked(distinct: Any, network: Experts) -> Any:
    positive(distinct_experts=distinct)
    if np.any(distinct > network.count):
        raise ValueError(
            f"distinct_experts = {distinct} exceeds the {network.count} experts of a layer: "
            f"give how many of them some token meets."
        )
    return distinct
