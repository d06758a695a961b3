"""One pass through a model: what is asked of it, and the operators that come of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from kvlib import elementwise
from kvlib.checks import choose
from kvlib.operators import GemmShape, Operator, Work, linear
from kvlib.parallel import Collective, Parallel
from kvlib.precision import element_size
from kvlib.workload import Transformer

__all__ = ["ElementBytes", "Pass", "Step"]


class ElementBytes(NamedTuple):
    """Size of one element of each stream [B]."""

    activations: Any
    weights: Any
    kv: Any

    @classmethod
    def of(cls, precision: Any, weights: Any = None, kv: Any = None) -> "ElementBytes":
        """Read names of formats or bytes; weights and cache are as activations unless given.

        Examples
        --------
        >>> ElementBytes.of("bf16", weights="fp8")
        ElementBytes(activations=2.0, weights=1.0, kv=2.0)
        """
        return cls(*(element_size(precision if p is None else p) for p in (precision, weights, kv)))


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What one pass through the layers of a model is asked to do.

    Parameters
    ----------
    model : Transformer
        The model.
    batch, query_tokens, context : int or array
        Sequences, new tokens of each, and tokens in each cache once these are appended.
    bytes : ElementBytes
        Element sizes by stream.
    parallel : Parallel
        Over how many ranks the model is split.
    absorbed, fused : bool
        Whether MLA stays compressed, and whether scores stay on chip.
    distinct : float or array, optional
        Experts of a layer that some token meets; by uniform routing if not given.
    """

    model: Transformer
    batch: Any
    query_tokens: Any
    context: Any
    bytes: ElementBytes
    parallel: Parallel
    absorbed: bool
    fused: bool
    distinct: Any = None

    @cached_property
    def tokens(self) -> Any:
        """New tokens of all sequences."""
        return 1.0 * self.batch * self.query_tokens

    def linear(self, name: str, inputs: Any, outputs: Any, *, bias: bool = False) -> Operator:
        """Apply a matrix to every new token."""
        work = linear(
            self.tokens, inputs, outputs, bias=bias,
            element_bytes=self.bytes.activations, weight_bytes=self.bytes.weights,
        )  # fmt: skip
        return Operator(name, "gemm", work, GemmShape(self.tokens, outputs, inputs))

    def linear_per_head(self, name: str, heads: Any, inputs: int, outputs: int) -> Operator:
        """Apply to every head of every new token a matrix of its own."""
        one = self.linear(name, inputs, outputs)
        return Operator(
            name, "gemm", one.work * heads, GemmShape(self.tokens, outputs, inputs, heads)
        )

    def norm(self, name: str, width: int, rows: Any = None, *, centred: bool = False) -> Operator:
        """Normalise the new tokens' rows, or other rows."""
        return Operator(
            name,
            "elementwise",
            elementwise.norm(
                self.tokens if rows is None else rows, width, centred=centred,
                element_bytes=self.bytes.activations, weight_bytes=self.bytes.weights,
            ),
        )  # fmt: skip

    def elementwise(self, name: str, form: Any, *sizes: Any, **options: Any) -> Operator:
        """Apply an operator that has no weights."""
        work = form(*sizes, element_bytes=self.bytes.activations, **options)
        return Operator(name, "elementwise", work)

    def all_reduce(self, after: str) -> Iterator[Collective]:
        """Add up the hidden states of the tensor-parallel ranks."""
        if np.any(self.parallel.tensor != 1):
            message = self.tokens * self.model.hidden * self.bytes.activations
            yield Collective("all_reduce", self.parallel.tensor, message, after)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One pass through a model on one rank: what `prefill` and `decode_step` return.

    Parameters
    ----------
    phase : {"prefill", "decode"}
        Which of the two.
    model : Transformer
        The model.
    batch, query_tokens, context : int or array
        Sequences, new tokens of each, and tokens in each cache once these are appended.
    element_bytes : ElementBytes
        Element sizes by stream [B].
    parallel : Parallel
        Over how many ranks the model is split.
    operators : tuple of Operator
        In order of execution; equal layers share one entry.
    collectives : tuple of Collective
        Messages between ranks.
    """

    phase: Literal["prefill", "decode"]
    model: Transformer
    batch: Any
    query_tokens: Any
    context: Any
    element_bytes: ElementBytes
    parallel: Parallel
    operators: tuple[Operator, ...]
    collectives: tuple[Collective, ...]

    @cached_property
    def work(self) -> Work:
        """Work of all operators and layers."""
        return sum((operator.total for operator in self.operators), Work())

    @property
    def kv_read(self) -> Any:
        """Bytes of cache read [B]."""
        return self.work.kv - self.kv_written

    @property
    def kv_written(self) -> Any:
        """Bytes of cache written [B]."""
        return sum((each.total for each in self.operators if each.name == "kv_append"), Work()).kv

    @property
    def beyond_max_context(self) -> Any:
        """Whether the context is longer than the model was made for."""
        return self.context > self.model.max_context

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the operators, each once, in order."""
        return tuple(dict.fromkeys(operator.name for operator in self.operators))

    def select(self, *names: str, kind: str | None = None) -> "Step":
        """Return the step with some operators only: those named, or those of a kind.

        Raises
        ------
        UnknownName
            If no operator of the step has such a name or kind.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.phases import decode_step
        >>> step = decode_step(model("llama-2-7b"), batch=1, context=1024)
        >>> step.select(kind="attention").names
        ('scores', 'softmax', 'context')
        """
        for name in names:
            choose(name, self.names, "operator")
        chosen = [each for each in self.operators if not names or each.name in names]
        if kind is not None:
            choose(kind, dict.fromkeys(each.kind for each in chosen), "kind of operator")
            chosen = [each for each in chosen if each.kind == kind]
        return replace(self, operators=tuple(chosen), collectives=())

    def layer(self, index: int) -> "Step":
        """Return the operators of one layer, counted from 0.

        Raises
        ------
        IndexError
            If the model has no such layer.
        """
        depth = len(self.model.layers)
        if not 0 <= index < depth:
            raise IndexError(f"layer {index}: {self.model.name!r} has layers 0 to {depth - 1}.")
        return self._keep(range(index, index + 1), first=False, last=False)

    def stage(self, index: int) -> "Step":
        """Return the operators of one pipeline stage, counted from 0.

        Raises
        ------
        IndexError
            If there is no such stage.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.phases import decode_step
        >>> step = decode_step(model("llama-2-70b"), batch=1, context=1024,
        ...                    parallel=Parallel(pipeline=4))
        >>> [round(step.stage(i).work.weights / 1e9, 1) for i in range(4)]
        [34.2, 34.2, 34.2, 34.8]
        """
        stages = self.parallel.stages(len(self.model.layers))
        if not 0 <= index < len(stages):
            raise IndexError(f"stage {index}: the pipeline has stages 0 to {len(stages) - 1}.")
        return self._keep(stages[index], first=index == 0, last=index == len(stages) - 1)

    def _keep(self, layers: range, *, first: bool, last: bool) -> "Step":
        def kept(parts: Any) -> Iterator[Any]:
            for part in parts:
                inside = tuple(layer for layer in part.layers if layer in layers)
                at_start = _name(part) in _BEFORE
                if inside or (not part.layers and (first if at_start else last)):
                    yield replace(part, layers=inside)

        return replace(
            self,
            operators=tuple(kept(self.operators)),
            collectives=tuple(kept(self.collectives)),
        )


_BEFORE = {"embedding"}


def _name(part: Operator | Collective) -> str:
    return part.name if isinstance(part, Operator) else part.after
