"""Hugging Face configurations to `Transformer`, one family after the other.

A field that a file leaves out has the default of its class, because the files are written without
the fields that equal it. The defaults, and what a field means, are those of the model classes in
transformers 4.57 and 5.23 :cite:`huggingface2026transformers`.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from kvlib.catalogue._cards import CardError
from kvlib.catalogue._configs import Config, read_config
from kvlib.checks import UnknownName, choose
from kvlib.workload import Attention, Experts, FeedForward, LatentAttention, Layer, Transformer

__all__ = ["UnreadFields", "from_config"]

_MAX_LAYERS = 10_000
_ReadExperts: TypeAlias = Callable[[Config, int], tuple[Experts, list[bool]]]


class UnreadFields(UserWarning):
    """A configuration has fields that were not understood, so its counts may be off."""


@dataclass(frozen=True)
class _Family:
    """Defaults of a class of models that share the usual names of fields.

    `kv_heads` and `head_dim` are what an absent field means; None is as many KV heads as heads, and
    hidden / heads. `windows` gives the window of each layer where the file does not list the layers.
    """

    name: str
    kv_heads: int | None = None
    head_dim: int | None = None
    tied: bool = False
    attention_bias: bool = False
    always_bias: bool = False
    query_key_norm: bool = False
    heads: int | None = None
    vocabulary: int | None = None
    max_context: int | None = None
    windows: Callable[[Config, int], list[int | None]] | None = None
    window: int | None = None
    experts: _ReadExperts | None = None


def from_config(path: Path) -> Transformer:
    """Read a ``config.json`` of a supported family.

    Raises
    ------
    CardError
        If the file is malformed, the family is not supported, a needed field is missing, or the file
        asks for something a `Transformer` cannot represent.

    Warns
    -----
    UnreadFields
        If fields were not understood; the model names them in `unread`.
    """
    outer = Config(path, read_config(path))
    kind = _kind_of(outer)
    config = outer
    if "text_config" in outer.table:
        inner = outer.table["text_config"]
        outer.skip(["text_config"])
        if not isinstance(inner, dict):
            raise outer.error("text_config", "must be an object with the fields of the language model")
        config = Config(path, inner, "text_config")
    outer.refuse()
    config.refuse()
    if outer.table.get("tie_word_embeddings") is not None:
        config.table = {**config.table, "tie_word_embeddings": outer.flag("tie_word_embeddings", False)}
    try:
        parts = _READERS[kind](config) if kind in _READERS else _usual(config, _FAMILIES[kind])
        unread = tuple(dict.fromkeys([*outer.rest(), *config.rest()]))
        remarks = list(dict.fromkeys([*outer.remarks, *config.remarks]))
        if unread:
            remarks.append(f"not understood, and not counted: {', '.join(unread)}")
        name = path.stem if path.stem != "config" else path.resolve().parent.name or path.stem
        model = Transformer(
            name=name,
            title=name,
            note="; ".join([f"Read from a configuration of type {kind}", *remarks]) + ".",
            unread=unread,
            **parts,
        )
    except CardError:
        raise
    except (ValueError, TypeError) as problem:
        raise CardError(f"{path}: {problem}") from None
    if unread:
        message = f"{path}: not understood, and not counted: {', '.join(unread)}. See model.unread."
        warnings.warn(message, UnreadFields, stacklevel=3)
    return model


def _kind_of(config: Config) -> str:
    """Type of the model: its own name for it, or the one that its class gives away."""
    kind, classes = config.table.get("model_type"), config.table.get("architectures")
    if kind is None and isinstance(classes, list) and classes:
        kind = _BY_CLASS.get(str(classes[0]), classes[0])
    supported = f"supported: {', '.join(sorted(_SUPPORTED))}"
    if kind is None:
        raise config.error("model_type", f"is missing: add it; {supported}")
    try:
        return choose(kind, _SUPPORTED, "type of model")
    except UnknownName:
        raise config.error(
            "model_type",
            f"= {repr(kind)[:60]} is not supported: write a card (.toml) for it; {supported}",
        ) from None


def _usual(config: Config, family: _Family) -> dict[str, Any]:
    """Read a model whose fields have the usual names."""
    shape = _shape(config, family.vocabulary, family.max_context)
    depth, hidden = shape.pop("depth"), shape["hidden"]
    heads = config.needed("num_attention_heads", absent=family.heads)
    kv_heads = config.count("num_key_value_heads", absent=family.kv_heads) or heads
    _divides(config, "num_key_value_heads", kv_heads, heads)
    head_dim = config.count("head_dim", absent=family.head_dim) or _share(config, hidden, heads)
    bias = config.flag("attention_bias", family.attention_bias) or family.always_bias
    if bias and not family.always_bias:
        config.remarks.append("the bias of the output projection is not counted")
    if config.flag("mlp_bias", False):
        config.remarks.append("the biases of the feed-forward network are not counted")
    windows = _windows(config, depth, family)
    attentions = [
        Attention(
            heads, kv_heads, head_dim, window=window, bias=bias, query_key_norm=family.query_key_norm
        )
        for window in windows
    ]
    networks: list[FeedForward | Experts]
    if family.experts is None:
        networks = [FeedForward(config.needed("intermediate_size"), gated=True)] * depth
    else:
        networks = _mixture(config, depth, family.experts)
    return {
        **shape,
        "family": family.name,
        "layers": tuple(map(Layer, attentions, networks)),
        "tied_embeddings": config.flag("tie_word_embeddings", family.tied),
        "position": "rope",
    }


def _shape(config: Config, vocabulary: int | None = None, context: int | None = None) -> dict[str, Any]:
    return {
        "depth": _depth(config, "num_hidden_layers"),
        "hidden": config.needed("hidden_size"),
        "vocabulary": config.needed("vocab_size", absent=vocabulary),
        "max_context": config.needed("max_position_embeddings", absent=context),
    }


def _depth(config: Config, *keys: str) -> int:
    depth = config.needed(*keys)
    if depth > _MAX_LAYERS:
        raise config.error(keys[0], f"= {depth} must be at most {_MAX_LAYERS}: correct it")
    return depth


def _share(config: Config, hidden: int, heads: int) -> int:
    """Elements of a head where a file does not say: an even share of the hidden state."""
    if hidden % heads:
        raise config.error(
            "num_attention_heads",
            f"= {heads} must divide hidden_size = {hidden}, because the size of a head is their "
            f"quotient: correct one, or add head_dim",
        )
    return hidden // heads


def _divides(config: Config, key: str, kv_heads: int, heads: int) -> None:
    if heads % kv_heads:
        raise config.error(
            key,
            f"= {kv_heads} must divide num_attention_heads = {heads}: every KV head serves the same "
            f"number of query heads, so one of the two is wrong",
        )


# ---- windows ---------------------------------------------------------------------------------------------


def _windows(config: Config, depth: int, family: _Family) -> list[int | None]:
    """Window of each layer: as the file lists the layers, else as their class has them."""
    windows = family.windows(config, depth) if family.windows else [None] * depth
    kinds = config.entries("layer_types", str)
    if kinds is None:
        return windows
    if len(kinds) != depth:
        raise config.error("layer_types", f"lists {len(kinds)} layers of {depth}: list every layer once")
    known = {"full_attention", "sliding_attention"}
    if odd := sorted(set(kinds) - known):
        raise config.error(
            "layer_types",
            f"has {odd[0][:60]!r}, which the reader cannot represent: known are "
            f"{' and '.join(sorted(known))}; write a card (.toml) for what you want to compute",
        )
    if "sliding_attention" not in kinds:
        return [None] * depth
    window = config.count("sliding_window", absent=family.window)
    if window is None:
        raise config.error("sliding_window", "is missing, but layer_types has windows: add its length")
    return [window if kind == "sliding_attention" else None for kind in kinds]


def _every_layer(absent: int | None) -> Callable[[Config, int], list[int | None]]:
    return lambda config, depth: [config.count("sliding_window", absent=absent)] * depth


def _alternating(absent: int) -> Callable[[Config, int], list[int | None]]:
    def windows(config: Config, depth: int) -> list[int | None]:
        window = config.count("sliding_window", "sliding_window_size", absent=absent)
        return [None if layer % 2 else window for layer in range(depth)]

    return windows


def _gemma3(config: Config, depth: int) -> list[int | None]:
    window = config.count("sliding_window", absent=4096)
    period = config.count("sliding_window_pattern", "_sliding_window_pattern", absent=6) or 1
    return [None if (layer + 1) % period == 0 else window for layer in range(depth)]


def _if_used(from_layer: bool) -> Callable[[Config, int], list[int | None]]:
    """Window of Qwen models: off unless asked for, and then from one layer on or everywhere."""

    def windows(config: Config, depth: int) -> list[int | None]:
        config.skip(["sliding_window", "max_window_layers"])
        if not config.flag("use_sliding_window", False):
            return [None] * depth
        window = config.count("sliding_window", absent=4096)
        first = config.count("max_window_layers", absent=28, zero=True) or 0 if from_layer else 0
        return [window if layer >= first else None for layer in range(depth)]

    return windows


def _phi3(config: Config, depth: int) -> list[int | None]:
    window = config.count("sliding_window")
    context = config.needed("max_position_embeddings")
    return [None if window is None or window >= context else window] * depth


# ---- experts -----------------------------------------------------------------------------------------------

_COUNT = ("num_local_experts", "num_experts", "n_routed_experts")


def _mixture(
    config: Config, depth: int, read: _ReadExperts
) -> list[FeedForward | Experts]:
    experts, is_dense = read(config, depth)
    dense = FeedForward(config.needed("intermediate_size"), gated=True) if any(is_dense) else None
    config.skip(["intermediate_size"])
    return [dense if chosen and dense else experts for chosen in is_dense]


def _experts(config: Config, width: str, **shared: int) -> Experts:
    count, active = config.needed(*_COUNT), config.needed("num_experts_per_tok", "experts_per_token")
    if active > count:
        raise config.error("num_experts_per_tok", f"= {active} exceeds the {count} experts: correct it")
    return Experts(count, active, config.needed(width), gated=True, **shared)


def _only_experts(config: Config, depth: int) -> tuple[Experts, list[bool]]:
    return _experts(config, "intermediate_size"), [False] * depth


def _gpt_oss(config: Config, depth: int) -> tuple[Experts, list[bool]]:
    config.remarks.append("biases of the experts and attention sinks are not counted")
    return _only_experts(config, depth)


def _qwen3_experts(config: Config, depth: int) -> tuple[Experts, list[bool]]:
    dense = set(config.entries("mlp_only_layers", int) or [])
    step = config.count("decoder_sparse_step", absent=1) or 1
    is_dense = [layer in dense or (layer + 1) % step != 0 for layer in range(depth)]
    return _experts(config, "moe_intermediate_size"), is_dense


# ---- families with names of their own ------------------------------------------------------------------------


def _deepseek(first_dense: int, shared: int) -> Callable[[Config], dict[str, Any]]:
    def read(config: Config) -> dict[str, Any]:
        shape = _shape(config)
        depth = shape.pop("depth")
        config.skip(["num_key_value_heads", "head_dim", "qk_head_dim"])  # no meaning for the cache
        if (config.count("moe_layer_freq", absent=1) or 1) != 1:
            raise config.error("moe_layer_freq", "must be 1: other values have no defined meaning")
        if config.flag("attention_bias", False):
            config.remarks.append("the biases of the attention are not counted")
        attention = LatentAttention(
            config.needed("num_attention_heads"),
            kv_rank=config.count("kv_lora_rank", absent=512) or 512,
            q_rank=config.count("q_lora_rank", absent=1536, null=0, zero=True) or 0,
            nope_dim=config.count("qk_nope_head_dim", absent=128) or 128,
            rope_dim=config.count("qk_rope_head_dim", absent=64, zero=True) or 0,
            value_dim=config.count("v_head_dim", absent=128) or 128,
        )
        first = config.count("first_k_dense_replace", absent=first_dense, zero=True) or 0
        beside = config.count("n_shared_experts", absent=shared, null=0, zero=True) or 0

        def experts(config: Config, depth: int) -> tuple[Experts, list[bool]]:
            mixture = _experts(config, "moe_intermediate_size", shared=beside)
            return mixture, [layer < first for layer in range(depth)]

        networks = _mixture(config, depth, experts)
        return {
            **shape,
            "family": "DeepSeek",
            "layers": tuple(Layer(attention, network) for network in networks),
            "tied_embeddings": config.flag("tie_word_embeddings", False),
            "position": "rope",
        }

    return read


def _opt(config: Config) -> dict[str, Any]:
    shape = _shape(config)
    embedding = config.count("word_embed_proj_dim")
    if embedding not in (None, shape["hidden"]):
        raise config.error(
            "word_embed_proj_dim",
            f"= {embedding} must equal hidden_size = {shape['hidden']}: projected embeddings cannot "
            f"be represented, write a card (.toml)",
        )
    if not config.flag("do_layer_norm_before", True):
        raise config.error("do_layer_norm_before", "must be true: write a card (.toml) for others")
    config.skip(["_remove_final_layer_norm", "layer_norm_elementwise_affine"])
    return _plain(
        config, "OPT", shape, config.needed("num_attention_heads"), config.needed("ffn_dim"),
        biases=config.flag("enable_bias", True),
    )  # fmt: skip


def _gpt2(config: Config) -> dict[str, Any]:
    shape = {
        "depth": _depth(config, "n_layer", "num_hidden_layers"),
        "hidden": config.needed("n_embd", "hidden_size"),
        "vocabulary": config.needed("vocab_size"),
        "max_context": config.needed("n_positions", "max_position_embeddings"),
    }
    width = config.count("n_inner") or 4 * shape["hidden"]
    heads = config.needed("n_head", "num_attention_heads")
    return _plain(config, "GPT-2", shape, heads, width, biases=True)


def _plain(
    config: Config, family: str, shape: dict[str, Any], heads: int, width: int, *, biases: bool
) -> dict[str, Any]:
    """Every head with its own key and value, two matrices, learned positions."""
    depth = shape.pop("depth")
    attention = Attention(heads, heads, _share(config, shape["hidden"], heads))
    return {
        **shape,
        "family": family,
        "layers": (Layer(attention, FeedForward(width, gated=False)),) * depth,
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        "position": "learned",
        "biases": biases,
    }


def _falcon(config: Config) -> dict[str, Any]:
    depth = _depth(config, "num_hidden_layers", "n_layer")
    hidden = config.needed("hidden_size", "n_embed")
    heads = config.needed("num_attention_heads", "n_head")
    listed = config.count("num_kv_heads", "n_head_kv") or heads
    new, multi_query = config.flag("new_decoder_architecture", False), config.flag("multi_query", True)
    kv_heads = listed if new or not multi_query else 1
    _divides(config, "num_kv_heads", kv_heads, heads)
    config.skip(["num_ln_in_parallel_attn"])
    attention = Attention(heads, kv_heads, _share(config, hidden, heads))
    width = config.count("ffn_hidden_size") or 4 * hidden
    return {
        "family": "Falcon",
        "layers": (Layer(attention, FeedForward(width, gated=False)),) * depth,
        "hidden": hidden,
        "vocabulary": config.needed("vocab_size"),
        "max_context": config.needed("max_position_embeddings", absent=2048),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        "position": "alibi" if config.flag("alibi", False) else "rope",
        "biases": config.flag("bias", False),
    }


_FAMILIES: Mapping[str, _Family] = {
    "llama": _Family("Llama"),
    "mistral": _Family("Mistral", kv_heads=8, windows=_every_layer(4096), window=4096),
    "mixtral": _Family("Mistral", kv_heads=8, windows=_every_layer(None), experts=_only_experts),
    "qwen2": _Family("Qwen", kv_heads=32, always_bias=True, windows=_if_used(True)),
    "qwen3": _Family(
        "Qwen", kv_heads=32, head_dim=128, query_key_norm=True, windows=_if_used(True)
    ),
    "qwen3_moe": _Family(
        "Qwen", kv_heads=4, query_key_norm=True, windows=_if_used(False), experts=_qwen3_experts
    ),
    "gemma2": _Family(
        "Gemma", kv_heads=4, head_dim=256, tied=True, windows=_alternating(4096), window=4096
    ),
    "gemma3_text": _Family(
        "Gemma", kv_heads=4, head_dim=256, tied=True, query_key_norm=True, heads=8,
        vocabulary=262_208, max_context=131_072, windows=_gemma3, window=4096,
    ),
    "gpt_oss": _Family(
        "gpt-oss", kv_heads=8, head_dim=64, attention_bias=True, windows=_alternating(128),
        window=128, experts=_gpt_oss,
    ),
    "phi3": _Family("Phi", windows=_phi3),
}  # fmt: skip
_READERS: Mapping[str, Callable[[Config], dict[str, Any]]] = {
    "gemma3": lambda config: _usual(config, _FAMILIES["gemma3_text"]),
    "deepseek_v2": _deepseek(first_dense=0, shared=2),
    "deepseek_v3": _deepseek(first_dense=3, shared=1),
    "opt": _opt,
    "gpt2": _gpt2,
    "falcon": _falcon,
}
_SUPPORTED = (*_FAMILIES, *_READERS)
_BY_CLASS = {
    "LlamaForCausalLM": "llama", "MistralForCausalLM": "mistral", "MixtralForCausalLM": "mixtral",
    "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3", "Qwen3MoeForCausalLM": "qwen3_moe",
    "Gemma2ForCausalLM": "gemma2", "Gemma3ForCausalLM": "gemma3_text",
    "Gemma3ForConditionalGeneration": "gemma3", "DeepseekV2ForCausalLM": "deepseek_v2",
    "DeepseekV3ForCausalLM": "deepseek_v3", "GptOssForCausalLM": "gpt_oss", "OPTForCausalLM": "opt",
    "GPT2LMHeadModel": "gpt2", "FalconForCausalLM": "falcon", "Phi3ForCausalLM": "phi3",
}  # fmt: skip
