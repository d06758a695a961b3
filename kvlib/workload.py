"""What has to be computed: a transformer as the shapes of its layers.

Counts only: no hardware, no precision, no batch. `phases` turns these shapes into operators.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import date
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from kvlib.checks import choose, whole
from kvlib.precision import itemsize
from kvlib.quoted import Quoted, Stated

__all__ = ["Attention", "Experts", "FeedForward", "LatentAttention", "Layer", "Transformer"]


@dataclass(frozen=True)
class Attention:
    """Attention with one key and one value per KV head and token: MHA, GQA or MQA.

    Parameters
    ----------
    heads : int
        Query heads.
    kv_heads : int
        KV heads; `heads` / `kv_heads` query heads read each.
    head_dim : int
        Elements in one head's key, and in its value.
    window : int, optional
        Tokens a query can look back on; None for all of them.
    bias : bool
        Whether the query, key and value projections carry a bias.
    query_key_norm : bool
        Whether queries and keys are normalised per head.

    Raises
    ------
    ValueError
        If a count is not a whole number above zero, or `kv_heads` does not divide `heads`.

    Examples
    --------
    >>> Attention(heads=32, kv_heads=8, head_dim=128).kind
    'GQA'
    """

    heads: int
    kv_heads: int
    head_dim: int
    _: KW_ONLY
    window: int | None = None
    bias: bool = False
    query_key_norm: bool = False

    def __post_init__(self) -> None:
        whole(heads=self.heads, kv_heads=self.kv_heads, head_dim=self.head_dim)
        if self.window is not None:
            whole(window=self.window)
        if self.heads % self.kv_heads:
            raise ValueError(
                f"kv_heads = {self.kv_heads} must divide heads = {self.heads}: "
                f"every KV head serves the same number of query heads."
            )

    @property
    def kind(self) -> Literal["MHA", "GQA", "MQA"]:
        """Which of the three this is."""
        if self.kv_heads == self.heads:
            return "MHA"
        return "MQA" if self.kv_heads == 1 else "GQA"

    @property
    def group(self) -> int:
        """Query heads that read each KV head."""
        return self.heads // self.kv_heads

    @property
    def kv_elements(self) -> int:
        """Elements one token adds to the cache of one layer: a key and a value per KV head."""
        return 2 * self.kv_heads * self.head_dim

    def parameters(self, hidden: int) -> int:
        """Weights of the four projections."""
        queries, keys_values = self.heads * self.head_dim, self.kv_elements
        norms = 2 * self.head_dim if self.query_key_norm else 0
        biases = queries + keys_values if self.bias else 0
        return hidden * (2 * queries + keys_values) + biases + norms


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (MLA): one compressed key-value row per token for all heads.

    Parameters
    ----------
    heads : int
        Query heads.
    kv_rank : int
        Elements of the compressed key and value.
    q_rank : int
        Elements of the compressed query; 0 where queries are not compressed.
    nope_dim, rope_dim : int
        Elements of a head's key without and with rotary position.
    value_dim : int
        Elements of a head's value.
    window : None
        Tokens a query can look back on: always all of them.

    Notes
    -----
    :cite:t:`deepseek2024v2`, equations 9 to 19 and appendix C.

    Examples
    --------
    >>> LatentAttention(heads=128, kv_rank=512, q_rank=1536, nope_dim=128, rope_dim=64,
    ...                 value_dim=128).kv_elements
    576
    """

    heads: int
    _: KW_ONLY
    kv_rank: int
    q_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    window: None = None

    def __post_init__(self) -> None:
        whole(heads=self.heads, kv_rank=self.kv_rank, nope_dim=self.nope_dim)
        whole(True, q_rank=self.q_rank, rope_dim=self.rope_dim)
        whole(value_dim=self.value_dim)

    @property
    def kind(self) -> Literal["MLA"]:
        """Always MLA."""
        return "MLA"

    @property
    def group(self) -> int:
        """Query heads that read each cached row: all of them."""
        return self.heads

    @property
    def kv_elements(self) -> int:
        """Elements one token adds to the cache of one layer."""
        return self.kv_rank + self.rope_dim

    def parameters(self, hidden: int) -> int:
        """Weights of the compressing and expanding projections, their norms and the output."""
        key = self.nope_dim + self.rope_dim
        if self.q_rank:
            queries = hidden * self.q_rank + self.q_rank + self.q_rank * self.heads * key
        else:
            queries = hidden * self.heads * key
        compressed = hidden * self.kv_elements + self.kv_rank
        expanded = self.kv_rank * self.heads * (self.nope_dim + self.value_dim)
        return queries + compressed + expanded + self.heads * self.value_dim * hidden


@dataclass(frozen=True)
class FeedForward:
    """A dense feed-forward network: `width` hidden units, three matrices if gated, else two."""

    width: int
    gated: bool

    def __post_init__(self) -> None:
        whole(width=self.width)

    @property
    def matrices(self) -> int:
        """Weight matrices: up and down, and a gate if there is one."""
        return 3 if self.gated else 2

    def parameters(self, hidden: int) -> int:
        """Weights."""
        return self.matrices * hidden * self.width

    def active_parameters(self, hidden: int) -> int:
        """Weights one token meets: all of them."""
        return self.parameters(hidden)


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: a router sends each token to `active` of `count` networks.

    Parameters
    ----------
    count, active : int
        Experts there are, and experts each token meets.
    width : int
        Hidden units of one expert.
    gated : bool
        Whether an expert has a gate matrix.
    shared, shared_width : int
        Experts that every token meets besides, and their width.

    Raises
    ------
    ValueError
        If a token should meet more experts than there are.
    """

    count: int
    active: int
    width: int
    gated: bool
    shared: int = 0
    shared_width: int = 0

    def __post_init__(self) -> None:
        whole(count=self.count, active=self.active, width=self.width)
        whole(True, shared=self.shared, shared_width=self.shared_width)
        if self.active > self.count:
            raise ValueError(
                f"active = {self.active} experts per token, but there are only {self.count}."
            )

    @property
    def matrices(self) -> int:
        """Weight matrices of one expert."""
        return 3 if self.gated else 2

    def _parameters(self, hidden: int, routed: int) -> int:
        shared = self.shared * (self.shared_width or self.width)
        return self.matrices * hidden * (routed * self.width + shared) + hidden * self.count

    def parameters(self, hidden: int) -> int:
        """Weights of all experts and the router."""
        return self._parameters(hidden, self.count)

    def active_parameters(self, hidden: int) -> int:
        """Weights one token meets."""
        return self._parameters(hidden, self.active)


@dataclass(frozen=True)
class Layer:
    """One transformer layer."""

    attention: Attention | LatentAttention
    feed_forward: FeedForward | Experts


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A decoder-only transformer.

    Parameters
    ----------
    name, title, family : str
        Catalogue name, the name people use, its family.
    layers : tuple of Layer
        From the first to the last; equal layers compare equal.
    hidden : int
        Elements of one token's hidden state.
    vocabulary : int
        Rows of the embedding.
    max_context : int
        Longest context it was trained or released for [token].
    tied_embeddings : bool
        Whether the output layer reuses the embedding.
    position : {"rope", "learned", "alibi", "none"}
        How positions enter; learned ones are weights.
    biases : bool
        Whether every linear layer and norm has a bias, as in GPT-3 and OPT.
    published : mapping of str to float
        Parameter counts that its authors print.
    note : str
        Remarks of its card.
    dated : datetime.date, optional
        Day on which its card was written.
    provenance : mapping of str to Quoted or Stated
        Every fact of its card as the source has it, by its place, such as ``"attention.heads"``.
    unread : tuple of str
        Fields of its configuration that were not understood, and so not counted.

    Raises
    ------
    ValueError
        If there is no layer, or a count is not a whole number above zero.
    """

    name: str
    title: str
    family: str
    layers: tuple[Layer, ...]
    hidden: int
    vocabulary: int
    max_context: int
    tied_embeddings: bool
    position: str
    biases: bool = False
    published: Mapping[str, float] = field(default_factory=dict, hash=False)
    note: str = ""
    dated: date | None = None
    provenance: Mapping[str, Quoted | Stated] = field(
        default_factory=dict, repr=False, compare=False
    )
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError(f"{self.name!r} has 0 layers: a transformer needs at least one.")
        whole(hidden=self.hidden, vocabulary=self.vocabulary, max_context=self.max_context)
        choose(self.position, ["rope", "learned", "alibi", "none"], "position")
        self.__setstate__(vars(self))

    def __getstate__(self) -> dict[str, Any]:
        return {k: dict(v) if isinstance(v, MappingProxyType) else v for k, v in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        fixed = {k: MappingProxyType(dict(state[k])) for k in ("published", "provenance")}
        vars(self).update(state | fixed)

    @cached_property
    def groups(self) -> dict[Layer, int]:
        """Distinct layers and how many there are of each, in order of first appearance."""
        return dict(Counter(self.layers))

    @property
    def attention_kinds(self) -> tuple[str, ...]:
        """Kinds of attention in the model, such as ``("GQA",)``."""
        return tuple(dict.fromkeys(layer.attention.kind for layer in self.groups))

    def _count(self, active: bool) -> int:
        norm = (2 if self.biases else 1) * self.hidden
        total = self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2) + norm
        if self.position == "learned":
            total += self.max_context * self.hidden
        for layer, count in self.groups.items():
            network = layer.feed_forward
            weights = network.active_parameters if active else network.parameters
            attention = layer.attention.parameters(self.hidden)
            biases = self._layer_biases(layer) if self.biases else 0
            total += count * (attention + weights(self.hidden) + 2 * norm + biases)
        return total

    def _layer_biases(self, layer: Layer) -> int:
        attention, network, biases = layer.attention, layer.feed_forward, self.hidden
        if isinstance(attention, Attention) and not attention.bias:
            biases += attention.heads * attention.head_dim + attention.kv_elements
        if isinstance(network, FeedForward):
            biases += (network.matrices - 1) * network.width + self.hidden
        return biases

    @cached_property
    def parameters(self) -> int:
        """Weights of the whole model.

        Examples
        --------
        >>> from kvlib import model
        >>> model("llama-2-7b").parameters
        6738415616
        """
        return self._count(active=False)

    @cached_property
    def active_parameters(self) -> int:
        """Weights one token meets; fewer than `parameters` with experts."""
        return self._count(active=True)

    def kv_bytes_per_token(self, precision: str = "fp16") -> float:
        r"""Bytes one more token adds to the cache while no window is full [B/token].

        .. math:: \text{bytes} = s \sum_\text{layers} 2\, n_\text{KV}\, d_\text{head}

        Examples
        --------
        >>> from kvlib import model
        >>> model("llama-2-70b").kv_bytes_per_token("fp16") / 1024
        320.0
        """
        elements = sum(n * layer.attention.kv_elements for layer, n in self.groups.items())
        return elements * itemsize(precision)
