"""What the layers of a Hugging Face configuration have in common, and where they differ."""

from collections.abc import Callable
from typing import TypeAlias

from kvlib.catalogue._configs import Config
from kvlib.workload import Experts, FeedForward

__all__ = [
    "MAX_LAYERS", "ReadExperts", "ReadWindows", "alternating", "depth_of", "even_share",
    "every_layer", "experts_in_some", "experts_of", "if_used", "mixture", "must_divide",
    "one_in_six", "only_experts", "only_experts_with_biases", "unless_longer", "windows_of",
]  # fmt: skip

MAX_LAYERS = 10_000

ReadWindows: TypeAlias = Callable[[Config, int], list[int | None]]
"""From a configuration and the number of layers to the window of each."""

ReadExperts: TypeAlias = Callable[[Config, int], tuple[Experts, list[bool]]]
"""From the same to the mixture of experts, and which layers are dense instead."""


def depth_of(config: Config, *keys: str) -> int:
    """Layers of the model, within bounds."""
    depth = config.needed(*keys)
    if depth > MAX_LAYERS:
        raise config.error(keys[0], f"= {depth} must be at most {MAX_LAYERS}: correct it")
    return depth


def even_share(config: Config, hidden: int, heads: int) -> int:
    """Elements of a head where a file does not say: an even share of the hidden state."""
    if hidden % heads:
        raise config.error(
            "num_attention_heads",
            f"= {heads} must divide hidden_size = {hidden}, because the size of a head is their "
            f"quotient: correct one, or add head_dim",
        )
    return hidden // heads


def must_divide(config: Config, key: str, kv_heads: int, heads: int) -> None:
    """Raise unless every KV head serves the same number of query heads."""
    if heads % kv_heads:
        raise config.error(
            key,
            f"= {kv_heads} must divide num_attention_heads = {heads}: every KV head serves the "
            f"same number of query heads, so one of the two is wrong",
        )


def windows_of(
    config: Config, depth: int, read: ReadWindows | None, absent: int | None
) -> list[int | None]:
    """Window of each layer: as the file lists the layers, else as `read` has them."""
    windows: list[int | None] = read(config, depth) if read else [None] * depth
    kinds = config.entries("layer_types", str)
    if kinds is None:
        return windows
    if len(kinds) != depth:
        raise config.error(
            "layer_types", f"lists {len(kinds)} layers of {depth}: list every layer once"
        )
    known = {"full_attention", "sliding_attention"}
    if odd := sorted(set(kinds) - known):
        raise config.error(
            "layer_types",
            f"has {odd[0][:60]!r}, which the reader cannot represent: known are "
            f"{' and '.join(sorted(known))}; write a card (.toml) for what you want to compute",
        )
    if "sliding_attention" not in kinds:
        return [None] * depth
    window = config.count("sliding_window", absent=absent)
    if window is None:
        raise config.error(
            "sliding_window", "is missing, but layer_types has windows: add its length"
        )
    return [window if kind == "sliding_attention" else None for kind in kinds]


def every_layer(absent: int | None) -> ReadWindows:
    """Window of models in which all layers have the same."""
    return lambda config, depth: [config.count("sliding_window", absent=absent)] * depth


def alternating(absent: int) -> ReadWindows:
    """Window of models in which every second layer has one, from the first on."""

    def windows(config: Config, depth: int) -> list[int | None]:
        window = config.count("sliding_window", "sliding_window_size", absent=absent)
        return [None if layer % 2 else window for layer in range(depth)]

    return windows


def one_in_six(config: Config, depth: int) -> list[int | None]:
    """Window of Gemma 3: in five layers, then none in the sixth."""
    window = config.count("sliding_window", absent=4096)
    period = config.count("sliding_window_pattern", "_sliding_window_pattern", absent=6) or 1
    return [None if (layer + 1) % period == 0 else window for layer in range(depth)]


def if_used(from_layer: bool) -> ReadWindows:
    """Window of Qwen models: off unless asked for, and then from one layer on or everywhere."""

    def windows(config: Config, depth: int) -> list[int | None]:
        config.skip(["sliding_window", "max_window_layers"])
        if not config.flag("use_sliding_window", False):
            return [None] * depth
        window = config.count("sliding_window", absent=4096)
        first = config.count("max_window_layers", absent=28, zero=True) or 0 if from_layer else 0
        return [window if layer >= first else None for layer in range(depth)]

    return windows


def unless_longer(config: Config, depth: int) -> list[int | None]:
    """Window of Phi-3: none where it is as long as the context."""
    window = config.count("sliding_window")
    context = config.needed("max_position_embeddings")
    return [None if window is None or window >= context else window] * depth


def mixture(config: Config, depth: int, read: ReadExperts) -> list[FeedForward | Experts]:
    """Network of each layer: dense or a mixture of experts, as `read` says."""
    experts, is_dense = read(config, depth)
    dense = FeedForward(config.needed("intermediate_size"), gated=True) if any(is_dense) else None
    config.skip(["intermediate_size"])
    return [dense if chosen and dense else experts for chosen in is_dense]


def experts_of(config: Config, width: str, **shared: int) -> Experts:
    """Read one mixture; `width` names the field with the hidden units of an expert."""
    count = config.needed("num_local_experts", "num_experts", "n_routed_experts")
    active = config.needed("num_experts_per_tok", "experts_per_token")
    if active > count:
        raise config.error(
            "num_experts_per_tok", f"= {active} exceeds the {count} experts: correct it"
        )
    return Experts(count, active, config.needed(width), gated=True, **shared)


def only_experts(config: Config, depth: int) -> tuple[Experts, list[bool]]:
    """Read models in which every layer is a mixture."""
    return experts_of(config, "intermediate_size"), [False] * depth


def only_experts_with_biases(config: Config, depth: int) -> tuple[Experts, list[bool]]:
    """Read gpt-oss: every layer is a mixture, with parts that are not counted."""
    config.remarks.append("biases of the experts and attention sinks are not counted")
    return only_experts(config, depth)


def experts_in_some(config: Config, depth: int) -> tuple[Experts, list[bool]]:
    """Read Qwen3-MoE: a mixture in every so many layers, less those that are listed as dense."""
    dense = set(config.entries("mlp_only_layers", int) or [])
    step = config.count("decoder_sparse_step", absent=1) or 1
    is_dense = [layer in dense or (layer + 1) % step != 0 for layer in range(depth)]
    return experts_of(config, "moe_intermediate_size"), is_dense
