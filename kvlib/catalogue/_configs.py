"""A Hugging Face ``config.json``, read field by field: a leftover is a field not understood."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kvlib.catalogue._shelf import CardError, text_of

__all__ = ["Config", "read_config"]

_MAX_BYTES, _MAX_FIELDS, _MAX_COUNT = 1024 * 1024, 500, 10**12

_NO_COST = re.compile(
    r"_name_or_path|activation_function|architectures|attn_logit_softcapping|auto_map|aux_loss_alpha|"
    r"apply_residual_connection_post_layernorm|bad_words_ids|cache_implementation|"
    r"chunk_size_feed_forward|do_sample|dtype|ep_size|final_logit_softcapping|finetuning_task|"
    r"gradient_checkpointing|hidden_act|hidden_activation|id2label|init_std|"
    r"initial_context_length|initializer_range|label2id|layer_norm_eps|layer_norm_epsilon|layerdrop|mm_tokens_per_image|"
    r"model_type|n_ctx|n_group|norm_eps|norm_topk_prob|original_max_position_embeddings|"
    r"output_attentions|output_hidden_states|output_router_logits|parallel_attn|"
    r"partial_rotary_factor|prefix|pretraining_tp|query_pre_attn_scalar|"
    r"reorder_and_upcast_attn|return_dict|rms_norm_eps|rope_(local_base_freq|parameters|scaling|theta)|"
    r"routed_scaling_factor|scoring_func|seq_aux|task_specific_params|"
    r"tokenizer_class|topk_(group|method)|torch_dtype|transformers_version|use_cache|"
    r"(.*_)?dropout|.*_pdrop|.*_token_(id|index)|"
    r"(rotary|router|swiglu|summary|scale_attn|problem)_.*"
)
"""Fields that change neither the weights nor the cache; a closed list."""

_LEFT_OUT = {
    "vision_config": "the vision encoder",
    "audio_config": "the audio encoder",
    "num_nextn_predict_layers": "the layers that predict further tokens",
    "num_mtp_layers": "the layers that predict further tokens",
}
_REMARKS = {
    "quantization_config": "the released weights are quantised, which changes no count here",
    "use_bidirectional_attention": "some attention looks both ways, which is not counted",
}
_REFUSED = {
    "index_topk": "a sparse indexer", "index_head_dim": "a sparse indexer",
    "num_kv_shared_layers": "a cache shared between layers",
    "attention_k_eq_v": "keys used as values",
    "is_encoder_decoder": "an encoder", "add_cross_attention": "attention to an encoder",
    "num_global_key_value_heads": "other KV heads in some layers",
    "global_head_dim": "another head size in some layers",
}  # fmt: skip
_REFUSED_STARTS = re.compile(r"(linear|mamba|ssm)_.*")


class Config:
    """Fields of one configuration; what was taken, and what was left.

    Parameters
    ----------
    path : Path
        The file, for messages.
    table : dict
        Its fields.
    where : str, optional
        Name of the sub-table they come from.
    """

    def __init__(self, path: Path, table: dict[str, Any], where: str = "") -> None:
        self.path, self.table, self.where = path, table, where
        self.taken: set[str] = set()
        self.remarks: list[str] = []

    def error(self, key: str, rule: str) -> CardError:
        """Build an error that says where it is."""
        field = ".".join(part for part in (self.where, key) if part)
        return CardError(f"{self.path}: {field} {rule}.")

    def _take(self, key: str) -> Any:
        self.taken.add(key)
        return self.table.get(key)

    def count(
        self, *keys: str, absent: int | None = None, null: int | None = None, zero: bool = False
    ) -> int | None:
        """Take a count under the first of `keys`, which are names of one thing.

        `absent` is what the class of the model takes where the file has no such key, which is noted
        unless it is 0 or 1, and `null` what it takes where the file says null.

        Raises
        ------
        CardError
            If it is no whole number, or two of the names differ.
        """
        present = [key for key in keys if key in self.table]
        values = [self._take(key) for key in present]
        for key, value in zip(present, values, strict=True):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                shown = repr(value)[:60]
                raise self.error(
                    key, f"= {shown} must be a whole number: it counts things, correct it"
                )
            if not (0 if zero else 1) <= value <= _MAX_COUNT:
                least = "zero" if zero else "one"
                raise self.error(key, f"must lie between {least} and {_MAX_COUNT:.0e}: correct it")
        stated = {value for value in values if value is not None}
        if len(stated) > 1:
            names = " and ".join(present)
            raise self.error(names, "are names of one count but differ: keep the right one")
        if stated:
            return int(stated.pop())
        if present:
            return null
        if absent not in (None, 0, 1):
            self.remarks.append(f"{keys[0]} is not in the file: its class takes {absent}")
        return absent

    def needed(self, *keys: str, absent: int | None = None) -> int:
        """Take a count that must be there, or have a default.

        Raises
        ------
        CardError
            If it is missing.
        """
        value = self.count(*keys, absent=absent)
        if value is None:
            raise self.error(keys[0], f"is missing: add it to the file, as in {keys[0]!r}: 1024")
        return value

    def flag(self, key: str, absent: bool) -> bool:
        """Take true or false; null is `absent`."""
        value = self._take(key)
        if value is None:
            return absent
        if not isinstance(value, bool):
            raise self.error(key, f"= {repr(value)[:60]} must be true or false: correct it")
        return value

    def entries(self, key: str, kind: type) -> list[Any] | None:
        """Take a list of one kind of value, or None."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, list) or any(type(entry) is not kind for entry in value):
            raise self.error(key, f"must be a list of {kind.__name__}: correct it")
        return value

    def skip(self, keys: Iterable[str]) -> None:
        """Set fields aside that say nothing new for this family."""
        self.taken.update(keys)

    def refuse(self) -> None:
        """Raise for what a `Transformer` cannot hold."""
        for key, value in self.table.items():
            what = _REFUSED.get(key, "layers without a KV cache")
            if value and (key in _REFUSED or _REFUSED_STARTS.fullmatch(key)):
                raise self.error(
                    key,
                    f"means {what}, which the reader cannot represent: "
                    f"write a card (.toml) for what you want to compute",
                )

    def rest(self) -> list[str]:
        """Note what is left out, and name what was not understood."""
        unread = []
        for key, value in self.table.items():
            if key in self.taken or _NO_COST.fullmatch(key) or value is None:
                continue
            if key in _LEFT_OUT:
                if value:
                    self.remarks.append(f"{_LEFT_OUT[key]} ({key}) is left out")
            elif key in _REMARKS:
                if value:
                    self.remarks.append(f"{_REMARKS[key]} ({key})")
            elif not (_REFUSED_STARTS.fullmatch(key) or key in _REFUSED):
                name = f"{self.where}.{key}" if self.where else key
                unread.append(name if name.isprintable() and len(name) <= 80 else ascii(name[:80]))
        return sorted(unread)


def read_config(path: Path) -> dict[str, Any]:
    """Read the fields of a configuration.

    Raises
    ------
    CardError
        If the file cannot be read, is too large, is not JSON, or gives a name twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for name, value in pairs:
            if name in table:
                raise CardError(
                    f"{path}: {name[:80]!r} is given more than once. Keep the right one."
                )
            table[name] = value
        return table

    try:
        table = json.loads(text_of(path, _MAX_BYTES), object_pairs_hook=once)
    except CardError:
        raise
    except (ValueError, RecursionError) as problem:
        raise CardError(
            f"{path}: is not valid JSON: {problem}. Fetch the file again if it was cut off."
        ) from None
    if not isinstance(table, dict):
        raise CardError(f"{path}: must hold one object, the fields of a model. Check the file.")
    if len(table) > _MAX_FIELDS:
        raise CardError(
            f"{path}: holds {len(table)} fields, more than {_MAX_FIELDS}. Check the file."
        )
    return table
