"""Model cards to `Transformer`."""

from functools import cache
from pathlib import Path
from typing import Any

from kvlib.catalogue._cards import Figures, catalogue_names, find, load
from kvlib.catalogue._huggingface import from_config
from kvlib.checks import choose
from kvlib.workload import Attention, Experts, FeedForward, LatentAttention, Layer, Transformer

__all__ = ["model", "models"]

_KINDS = ("MHA", "GQA", "MQA", "MLA")


def models(family: str | None = None) -> tuple[str, ...]:
    """Names of the models in the catalogue, of one family or all.

    Examples
    --------
    >>> "llama-3-8b" in models()
    True
    """
    names = [name for name in catalogue_names("models") if "@" not in name]
    if family is None:
        return tuple(names)
    families = {name: model(name).family for name in names}
    choose(family, sorted(set(families.values())), "family")
    return tuple(name for name in names if families[name] == family)


def model(name: str | Path) -> Transformer:
    """Return a model of the catalogue, or one from your own card or configuration.

    Parameters
    ----------
    name : str or Path
        A catalogue name, any beginning of one that is unambiguous, the path of a ``.toml`` card, or
        the path of a Hugging Face ``config.json``; of the latter, fields that were not understood
        are in the model's `unread`.

    Raises
    ------
    UnknownName
        If the catalogue has no such model; the message lists the nearest names.
    CardError
        If a card or configuration is malformed; the message names file, field, rule and remedy.

    Warns
    -----
    UnreadFields
        If a configuration has fields that were not understood.

    Examples
    --------
    >>> model("llama-2-70b").kv_bytes_per_token("fp16") / 1024
    320.0
    """
    if str(name).endswith(".json"):
        return from_config(Path(name))
    if str(name).endswith(".toml"):
        return load(Path(name), _build)
    return _cached(find(name, "models", "model"))


@cache
def _cached(path: Path) -> Transformer:
    return load(path, _build)


def _build(card: Figures) -> Transformer:
    title, family, note = card.text("title"), card.text("family"), card.text("note", "")
    dated = card.day("dated")
    shape, attention = card.section("model"), card.section("attention")
    network, experts = card.section("ffn"), card.section("experts")
    depth = shape.needed("layers")
    if not 0 < depth <= 10_000:
        raise shape.error("layers", f"= {depth} must lie between 1 and 10000: correct it")
    parts: dict[str, Any] = {
        "hidden": shape.needed("hidden"),
        "vocabulary": shape.needed("vocabulary"),
        "max_context": shape.needed("max_context"),
        "tied_embeddings": shape.flag("tied_embeddings"),
        "position": shape.word("position"),
        "biases": shape.flag("biases", False),
    }
    shape.close(f"layers, {', '.join(parts)}")
    attentions = _attentions(attention, depth)
    networks = _networks(network, experts, depth)
    published = card.map("published", "1", zero=False) or {}
    card.close("title, family, dated, note, [model], [attention], [ffn], [experts], [published]")
    return Transformer(
        name=card.path.stem.split("@")[0],
        title=title,
        family=family,
        layers=tuple(Layer(*pair) for pair in zip(attentions, networks, strict=True)),
        published=published,
        note=note,
        dated=dated,
        provenance=card.record,
        **parts,
    )


def _attentions(table: Figures, depth: int) -> list[Attention | LatentAttention]:
    kind = table.word("kind")
    if kind not in _KINDS:
        raise table.error("kind", f"= {kind!r} is unknown: choose one of {', '.join(_KINDS)}")
    heads = table.needed("heads")
    if kind == "MLA":
        latent = LatentAttention(
            heads=heads,
            kv_rank=table.needed("kv_rank"),
            q_rank=table.needed("q_rank", zero=True),
            nope_dim=table.needed("nope_dim"),
            rope_dim=table.needed("rope_dim", zero=True),
            value_dim=table.needed("value_dim"),
        )
        table.close("kind, heads, kv_rank, q_rank, nope_dim, rope_dim, value_dim")
        return [latent] * depth
    kv_heads, head_dim = table.needed("kv_heads"), table.needed("head_dim")
    bias, norm = table.flag("bias", False), table.flag("qk_norm", False)
    window, pattern = table.count("window"), table.word("pattern", "")
    table.close("kind, heads, kv_heads, head_dim, bias, qk_norm, window, pattern")
    if heads % kv_heads:
        raise table.error(
            "kv_heads",
            f"= {kv_heads} must divide heads = {heads}: every KV head serves the same number of "
            f"query heads, so one of the two is wrong",
        )

    def build(window: int | None) -> Attention:
        return Attention(heads, kv_heads, head_dim, window=window, bias=bias, query_key_norm=norm)

    if build(None).kind != kind:
        raise table.error(
            "kind",
            f'= "{kind}", but {heads} heads on {kv_heads} KV heads are {build(None).kind}: '
            f"correct whichever is wrong",
        )
    if pattern and (window is None or set(pattern) - {"L", "G"}):
        raise table.error(
            "pattern", f'= "{pattern}" needs a window, and one letter a layer: L (window), G (full)'
        )
    letters = pattern or ("L" if window else "G")
    choices = {"L": build(window), "G": build(None)}
    return [choices[letters[layer % len(letters)]] for layer in range(depth)]


def _networks(
    dense_table: Figures, expert_table: Figures, depth: int
) -> list[FeedForward | Experts]:
    dense = experts = None
    if dense_table.table:
        dense = FeedForward(dense_table.needed("width"), dense_table.flag("gated"))
        dense_table.close("width, gated")
    first, pattern = 0, "D"
    if expert_table.table:
        first, pattern = (
            expert_table.count("dense_first", 0) or 0,
            expert_table.word("pattern", "E"),
        )
        experts = Experts(
            count=expert_table.needed("count"),
            active=expert_table.needed("active"),
            width=expert_table.needed("width"),
            gated=expert_table.flag("gated"),
            shared=expert_table.count("shared", 0) or 0,
            shared_width=expert_table.count("shared_width", 0) or 0,
        )
        if not pattern or set(pattern) - {"D", "E"}:
            rule = f'= "{pattern}" must have one letter a layer: D (dense), E (experts)'
            raise expert_table.error("pattern", rule)
        known = "count, active, width, gated, shared, shared_width, dense_first, pattern"
        expert_table.close(known)
    letters = ["D" if layer < first else pattern[layer % len(pattern)] for layer in range(depth)]
    choices = {"D": dense, "E": experts}
    chosen = [choices[letter] for letter in letters]
    if any(network is None for network in chosen):
        rule = "is missing, but there are dense layers: add [ffn] with width and gated"
        raise dense_table.error("", rule)
    return chosen  # type: ignore[return-value]
