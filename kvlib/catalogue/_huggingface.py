"""Hugging Face configurations to `Transformer`, one family after the other.

A field that a file leaves out has the default of its class, because the files are written without
the fields that equal it. The defaults, and what a field means, are those of the model classes in
transformers 4.57 and 5.23 :cite:`huggingface2026transformers`.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvlib.catalogue._config_layers import (
    ReadExperts,
    ReadWindows,
    alternating,
    depth_of,
    even_share,
    every_layer,
    experts_in_some,
    experts_of,
    if_used,
    mixture,
    must_divide,
    one_in_six,
    only_experts,
    only_experts_with_biases,
    unless_longer,
    windows_of,
)
from kvlib.catalogue._configs import Config, read_config
from kvlib.catalogue._shelf import CardError
from kvlib.checks import UnknownName, choose
from kvlib.workload import Attention, Experts, FeedForward, LatentAttention, Layer, Transformer

__all__ = ["UnreadFields", "from_config"]


class UnreadFields(UserWarning):
    """A configuration has fields that were not understood, so its counts may be off."""


@dataclass(frozen=True)
class _Family:
    """Defaults of a class of models that share the usual names of fields.

    `kv_heads` and `head_dim` are what an absent field means; None is as many KV heads as heads,
    and hidden / heads. `windows` gives each layer's window where the file does not list the layers.
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
    windows: ReadWindows | None = None
    window: int | None = None
    experts: ReadExperts | None = None


def from_config(path: Path) -> Transformer:
    """Read a ``config.json`` of a supported family.

    Raises
    ------
    CardError
        If the file is malformed, the family is not supported, a needed field is missing, or the
        file asks for something a `Transformer` cannot represent.

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
            raise outer.error("text_config", "must be an object with the fields of a model")
        config = Config(path, inner, "text_config")
    outer.refuse()
    config.refuse()
    if config is not outer and outer.table.get("tie_word_embeddings") is not None:
        outer.skip(["tie_word_embeddings"])
        config.table = config.table | {"tie_word_embeddings": outer.table["tie_word_embeddings"]}
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
    must_divide(config, "num_key_value_heads", kv_heads, heads)
    head_dim = config.count("head_dim", absent=family.head_dim) or even_share(config, hidden, heads)
    bias = config.flag("attention_bias", family.attention_bias) or family.always_bias
    if bias and not family.always_bias:
        config.remarks.append("the bias of the output projection is not counted")
    if config.flag("mlp_bias", False):
        config.remarks.append("the biases of the feed-forward network are not counted")
    windows = windows_of(config, depth, family.windows, family.window)
    attentions = [
        Attention(
            heads,
            kv_heads,
            head_dim,
            window=window,
            bias=bias,
            query_key_norm=family.query_key_norm,
        )
        for window in windows
    ]
    networks: list[FeedForward | Experts]
    if family.experts is None:
        networks = [FeedForward(config.needed("intermediate_size"), gated=True)] * depth
    else:
        networks = mixture(config, depth, family.experts)
    return {
        **shape,
        "family": family.name,
        "layers": tuple(map(Layer, attentions, networks)),
        "tied_embeddings": config.flag("tie_word_embeddings", family.tied),
        "position": "rope",
    }


def _shape(
    config: Config, vocabulary: int | None = None, context: int | None = None
) -> dict[str, Any]:
    return {
        "depth": depth_of(config, "num_hidden_layers"),
        "hidden": config.needed("hidden_size"),
        "vocabulary": config.needed("vocab_size", absent=vocabulary),
        "max_context": config.needed("max_position_embeddings", absent=context),
    }


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
            mixture = experts_of(config, "moe_intermediate_size", shared=beside)
            return mixture, [layer < first for layer in range(depth)]

        networks = mixture(config, depth, experts)
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
            f"= {embedding} must equal hidden_size = {shape['hidden']}: projected embeddings "
            f"cannot be represented, write a card (.toml)",
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
        "depth": depth_of(config, "n_layer", "num_hidden_layers"),
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
    attention = Attention(heads, heads, even_share(config, shape["hidden"], heads))
    return {
        **shape,
        "family": family,
        "layers": (Layer(attention, FeedForward(width, gated=False)),) * depth,
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        "position": "learned",
        "biases": biases,
    }


def _falcon(config: Config) -> dict[str, Any]:
    depth = depth_of(config, "num_hidden_layers", "n_layer")
    hidden = config.needed("hidden_size", "n_embed")
    heads = config.needed("num_attention_heads", "n_head")
    listed = config.count("num_kv_heads", "n_head_kv") or heads
    new, multi_query = (
        config.flag("new_decoder_architecture", False),
        config.flag("multi_query", True),
    )
    kv_heads = listed if new or not multi_query else 1
    must_divide(config, "num_kv_heads", kv_heads, heads)
    config.skip(["num_ln_in_parallel_attn"])
    attention = Attention(heads, kv_heads, even_share(config, hidden, heads))
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
    "mistral": _Family("Mistral", kv_heads=8, windows=every_layer(4096), window=4096),
    "mixtral": _Family("Mistral", kv_heads=8, windows=every_layer(None), experts=only_experts),
    "qwen2": _Family("Qwen", kv_heads=32, always_bias=True, windows=if_used(True)),
    "qwen3": _Family(
        "Qwen", kv_heads=32, head_dim=128, query_key_norm=True, windows=if_used(True)
    ),
    "qwen3_moe": _Family(
        "Qwen", kv_heads=4, query_key_norm=True, windows=if_used(False), experts=experts_in_some
    ),
    "gemma2": _Family(
        "Gemma", kv_heads=4, head_dim=256, tied=True, windows=alternating(4096), window=4096
    ),
    "gemma3_text": _Family(
        "Gemma", kv_heads=4, head_dim=256, tied=True, query_key_norm=True, heads=8,
        vocabulary=262_208, max_context=131_072, windows=one_in_six, window=4096,
    ),
    "gpt_oss": _Family(
        "gpt-oss", kv_heads=8, head_dim=64, attention_bias=True, windows=alternating(128),
        window=128, experts=only_experts_with_biases,
    ),
    "phi3": _Family("Phi", windows=unless_longer),
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
