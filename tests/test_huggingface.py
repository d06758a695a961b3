"""A Hugging Face configuration gives the same counts as the card of its model."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvlib
from kvlib.catalogue import CardError, UnreadFields
from kvlib.units import KiB

CONFIGS = Path(__file__).parent / "configs"

# What each file must give. The cards of the same shape were written from other sources.
EXPECTED = [
    # file, card, layers, kind, parameters, active, KiB per token, windows, longest context
    ("llama", "llama-3.1-8b", 32, "GQA", 8_030_261_248, None, 128, "G", 131072),
    ("mistral", "mistral-7b-v0.1", 32, "GQA", 7_241_732_096, None, 128, "L", 32768),
    ("mixtral", "mixtral-8x7b", 32, "GQA", 46_702_792_704, 12_879_925_248, 128, "G", 32768),
    ("qwen2", "qwen2.5-7b", 28, "GQA", 7_615_616_512, None, 56, "G", 32768),
    ("qwen3", "qwen3-4b", 36, "GQA", 4_022_468_096, None, 144, "G", 40960),
    ("qwen3_moe", "qwen3-30b-a3b", 48, "GQA", 30_532_122_624, 3_353_032_704, 96, "G", 40960),
    ("gemma2", "gemma-2-27b", 46, "GQA", 27_226_704_384, None, 368, "LG", 8192),
    ("gemma3", "gemma-3-27b", 62, "GQA", 27_008_679_680, None, 496, "LLLLLG", 131072),
    (
        "deepseek_v2", "deepseek-v2-lite", 27, "MLA", 15_706_484_224, 2_661_150_208, 30.375, "G",
        163840,
    ),
    ("deepseek_v3", "deepseek-v3", 61, "MLA", 671_026_404_352, 37_552_282_624, 68.625, "G", 163840),
    ("gpt_oss", "gpt-oss-20b", 24, "GQA", 20_908_050_240, 4_186_539_840, 48, "LG", 131072),
    ("opt", "opt-125m", 12, "MHA", 125_237_760, None, 36, "G", 2048),
    ("gpt2", "gpt2", 12, "MHA", 124_439_808, None, 36, "G", 1024),
    ("falcon", "falcon-7b", 32, "MQA", 6_921_716_160, None, 8, "G", 2048),
    ("phi3", "phi-4", 40, "GQA", 14_659_507_200, None, 200, "G", 16384),
]  # fmt: skip


def fields(name):
    return json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))


def write(folder, table, name="config.json"):
    file = folder / name
    file.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("file", "card", "layers", "kind", "total", "active", "kib", "windows", "context"), EXPECTED
)
def test_configurations(file, card, layers, kind, total, active, kib, windows, context):
    found, known = kvlib.model(CONFIGS / f"{file}.json"), kvlib.model(card)
    assert len(found.layers) == layers
    assert found.attention_kinds == (kind,)
    assert found.parameters == total
    assert found.active_parameters == (active or total)
    assert found.kv_bytes_per_token("fp16") / KiB == kib
    assert found.max_context == context
    assert found.layers == known.layers
    assert (found.hidden, found.vocabulary) == (known.hidden, known.vocabulary)
    assert found.tied_embeddings == known.tied_embeddings
    assert (found.position, found.biases) == (known.position, known.biases)
    assert found.family == known.family
    assert found.unread == ()
    letters = [windows[layer % len(windows)] for layer in range(layers)]
    assert letters == ["G" if layer.attention.window is None else "L" for layer in found.layers]


def test_every_fixture_is_checked():
    assert {file.stem for file in CONFIGS.glob("*.json")} == {row[0] for row in EXPECTED}


def test_what_is_left_out_is_said():
    assert "vision encoder" in kvlib.model(CONFIGS / "gemma3.json").note
    assert "quantised" in kvlib.model(CONFIGS / "deepseek_v3.json").note
    assert "predict further tokens" in kvlib.model(CONFIGS / "deepseek_v3.json").note
    assert "sinks are not counted" in kvlib.model(CONFIGS / "gpt_oss.json").note
    assert "its class takes 2048" in kvlib.model(CONFIGS / "falcon.json").note


def test_fields_not_understood_are_named(tmp_path):
    file = write(tmp_path, fields("llama") | {"hyper_gates": 3, "eos_token_id": 2, "gone": None})
    with pytest.warns(UnreadFields, match="hyper_gates") as caught:
        found = kvlib.model(file)
    assert found.unread == ("hyper_gates",)
    assert "hyper_gates" in found.note
    assert caught[0].filename == __file__
    assert found.parameters == kvlib.model(CONFIGS / "llama.json").parameters


def test_fields_of_the_nested_model_are_named_with_their_place(tmp_path):
    table = fields("gemma3")
    table["text_config"]["hyper_gates"] = True
    with pytest.warns(UnreadFields, match=r"text_config\.hyper_gates"):
        assert kvlib.model(write(tmp_path, table)).unread == ("text_config.hyper_gates",)


def test_the_name_is_that_of_the_folder_or_the_file(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert kvlib.model(write(folder, fields("llama"))).name == "my-model"
    assert kvlib.model(CONFIGS / "llama.json").name == "llama"


# ---- what an absent field means ----


@pytest.mark.parametrize(
    ("file", "change", "kv_heads", "head_dim", "window"),
    [
        ("llama", {"num_key_value_heads": ...}, 32, 128, None),
        ("llama", {"num_key_value_heads": None}, 32, 128, None),
        ("llama", {"head_dim": 64}, 8, 64, None),
        ("mistral", {"num_key_value_heads": ..., "sliding_window": ...}, 8, 128, 4096),
        ("mistral", {"num_key_value_heads": None, "sliding_window": None}, 32, 128, None),
        ("mixtral", {"sliding_window": ...}, 8, 128, None),
        ("mixtral", {"sliding_window": 512}, 8, 128, 512),
        ("qwen3", {"head_dim": ...}, 8, 128, None),
        ("qwen3_moe", {"head_dim": ...}, 4, 64, None),
        ("qwen2", {"use_sliding_window": True, "max_window_layers": 0}, 4, 128, 131072),
        ("gemma2", {"num_key_value_heads": ..., "head_dim": ...}, 4, 256, 4096),
        ("gpt_oss", {"layer_types": ..., "sliding_window": ..., "head_dim": ...}, 8, 64, 128),
        ("falcon", {"new_decoder_architecture": True}, 71, 64, None),
        ("falcon", {"multi_query": False}, 71, 64, None),
        ("falcon", {"num_kv_heads": ...}, 1, 64, None),
        ("phi3", {"sliding_window": 16384}, 10, 128, None),
        ("phi3", {"sliding_window": 2047}, 10, 128, 2047),
        ("phi3", {"num_key_value_heads": ...}, 40, 128, None),
    ],
)
def test_defaults_of_the_classes(tmp_path, file, change, kv_heads, head_dim, window):
    table = {key: value for key, value in (fields(file) | change).items() if value is not ...}
    attention = kvlib.model(write(tmp_path, table)).layers[0].attention
    assert (attention.kv_heads, attention.head_dim) == (kv_heads, head_dim)
    assert attention.window == window


def test_windows_of_qwen_start_at_a_layer(tmp_path):
    table = fields("qwen2") | {"use_sliding_window": True, "max_window_layers": 20}
    windows = [layer.attention.window for layer in kvlib.model(write(tmp_path, table)).layers]
    assert windows == [None] * 20 + [131072] * 8


def test_listed_layers_win_over_the_pattern(tmp_path):
    table = fields("gemma2") | {"layer_types": ["full_attention"] * 45 + ["sliding_attention"]}
    windows = [layer.attention.window for layer in kvlib.model(write(tmp_path, table)).layers]
    assert windows == [None] * 45 + [4096]


def test_gemma_3_leaves_out_what_equals_the_default(tmp_path):
    """As in the released file of the 4B model, whose language model names five fields."""
    text = {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
        "num_hidden_layers": 34, "sliding_window": 1024,
    }  # fmt: skip
    table = {"model_type": "gemma3", "text_config": text, "vision_config": {"a": 1}}
    found, known = kvlib.model(write(tmp_path, table)), kvlib.model("gemma-3-4b")
    assert found.layers == known.layers
    assert found.parameters == known.parameters
    assert "num_attention_heads is not in the file: its class takes 8" in found.note


def test_the_outer_level_decides_whether_embeddings_are_tied(tmp_path):
    table = fields("gemma3") | {"tie_word_embeddings": False}
    assert not kvlib.model(write(tmp_path, table)).tied_embeddings


def test_dense_layers_before_and_between_experts(tmp_path):
    table = fields("qwen3_moe") | {"mlp_only_layers": [0, 5], "decoder_sparse_step": 2}
    kinds = [
        type(layer.feed_forward).__name__ for layer in kvlib.model(write(tmp_path, table)).layers
    ]
    dense = [layer in (0, 5) or layer % 2 == 0 for layer in range(48)]
    assert kinds == ["FeedForward" if each else "Experts" for each in dense]


def test_latent_cache_ignores_the_listed_kv_heads(tmp_path):
    table = fields("deepseek_v3") | {"num_key_value_heads": 1, "q_lora_rank": None}
    found = kvlib.model(write(tmp_path, table))
    assert found.kv_bytes_per_token("fp16") / KiB == 68.625
    assert found.layers[0].attention.q_rank == 0


def test_the_class_names_the_family_where_the_type_is_missing(tmp_path):
    table = {key: value for key, value in fields("gpt2").items() if key != "model_type"}
    assert kvlib.model(write(tmp_path, table)).family == "GPT-2"


# ---- bad input ----


@pytest.mark.parametrize(
    ("file", "change", "field", "rule"),
    [
        ("llama", {"model_type": "mamba2"}, "model_type", "supported: .*falcon.*llama"),
        ("llama", {"model_type": ..., "architectures": ...}, "model_type", "is missing: add it"),
        ("llama", {"num_hidden_layers": ...}, "num_hidden_layers", "is missing: add it"),
        ("llama", {"hidden_size": None}, "hidden_size", "is missing: add it"),
        ("llama", {"hidden_size": "4096"}, "hidden_size", "whole number.*correct it"),
        ("llama", {"hidden_size": 4096.0}, "hidden_size", "whole number.*correct it"),
        ("llama", {"hidden_size": True}, "hidden_size", "whole number.*correct it"),
        ("llama", {"hidden_size": -1}, "hidden_size", "between one and .*correct it"),
        ("llama", {"hidden_size": 10**30}, "hidden_size", "between one and .*correct it"),
        ("llama", {"num_hidden_layers": 10**6}, "num_hidden_layers", "at most 10000: correct it"),
        ("llama", {"num_key_value_heads": 5}, "num_key_value_heads", "must divide.*one of the two"),
        ("llama", {"num_attention_heads": 48}, "num_attention_heads", "must divide.*add head_dim"),
        ("llama", {"attention_bias": "no"}, "attention_bias", "true or false: correct it"),
        ("llama", {"tie_word_embeddings": 1}, "tie_word_embeddings", "true or false: correct it"),
        ("llama", {"layer_types": ["full_attention"]}, "layer_types", "1 layers of 32: list every"),
        ("llama", {"layer_types": ["mamba"] * 32}, "layer_types", "cannot represent.*write a card"),
        ("llama", {"layer_types": [1] * 32}, "layer_types", "list of str: correct it"),
        ("llama", {"layer_types": ["sliding_attention"] * 32}, "sliding_window", "is missing.*add"),
        ("llama", {"text_config": 5}, "text_config", "must be an object"),
        ("llama", {"num_kv_shared_layers": 4}, "num_kv_shared_layers", "shared.*write a card"),
        ("llama", {"linear_num_key_heads": 4}, "linear_num_key_heads", "without a KV.*a card"),
        ("deepseek_v3", {"index_topk": 2048}, "index_topk", "sparse indexer.*write a card"),
        ("deepseek_v3", {"moe_layer_freq": 2}, "moe_layer_freq", "must be 1"),
        ("deepseek_v3", {"num_experts_per_tok": ...}, "num_experts_per_tok", "is missing: add it"),
        ("deepseek_v3", {"num_experts_per_tok": 999}, "num_experts_per_tok", "exceeds.*correct it"),
        ("mixtral", {"num_experts": 16}, "num_local_experts and num_experts", "differ: keep the"),
        ("opt", {"word_embed_proj_dim": 512}, "word_embed_proj_dim", "must equal.*write a card"),
        ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before", "true: write a card"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention", "encoder.*write a card"),
        ("falcon", {"multi_query": False, "num_kv_heads": 3}, "num_kv_heads", "must divide"),
    ],
)
def test_a_bad_field_is_named_with_rule_and_remedy(tmp_path, file, change, field, rule):
    table = {key: value for key, value in (fields(file) | change).items() if value is not ...}
    path = write(tmp_path, table)
    with pytest.raises(CardError, match=rule) as caught:
        kvlib.model(path)
    assert str(caught.value).startswith(f"{path}: {field} ")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('{"model_type": "llama", "hidden_si', "not valid JSON.*Fetch the file again"),
        ("", "not valid JSON.*Fetch the file again"),
        ("[1, 2]", "must hold one object.*Check the file"),
        ('{"hidden_size": 1, "hidden_size": 2}', "'hidden_size' is given more than once. Keep"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a":' * 50_000, "not valid JSON"),
        ('{"a": ' + "9" * 100_000 + "}", "not valid JSON"),
        ("{" + " " * 2**20 + "}", "more than 1048576 bytes"),
        (json.dumps({str(number): 1 for number in range(2000)}), "2000 fields, more than 500"),
    ],
)
def test_a_bad_file_is_named_with_rule_and_remedy(tmp_path, text, rule):
    path = write(tmp_path, text)
    with pytest.raises(CardError, match=rule) as caught:
        kvlib.model(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(CardError, match=r"No such file.*Check the path"):
        kvlib.model(tmp_path / "gone.json")
    folder = tmp_path / "folder.json"
    folder.mkdir()
    with pytest.raises(CardError, match="is not a file"):
        kvlib.model(folder)
    file = tmp_path / "bytes.json"
    file.write_bytes(b'{"model_type": "\xff\xfe"}')
    with pytest.raises(CardError, match="UTF-8"):
        kvlib.model(file)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.filterwarnings("ignore::kvlib.catalogue.UnreadFields")
@given(file=st.sampled_from([row[0] for row in EXPECTED]), data=st.data())
def test_any_value_in_any_field_is_read_or_refused(tmp_path_factory, file, data):
    """Nothing but a model or a CardError comes out, whatever a file says."""
    table = fields(file)
    inner = table.get("text_config", table)
    inner[data.draw(st.sampled_from(sorted(inner)) | st.text(max_size=8))] = data.draw(VALUES)
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    try:
        found = kvlib.model(path)
    except CardError as problem:
        assert str(problem).startswith(str(path))  # noqa: PT017 - both outcomes are right
    else:
        assert found.parameters > 0
        assert found.kv_bytes_per_token("fp16") > 0
