"""kvlib: cost models and placement for the KV cache of large language models.

A chain of calls reads as a sentence: a `model` and a `device` from the catalogue, an operator's
`Work`, the `roofline` that turns it into seconds.

>>> from kvlib import device, model
>>> round(device("a100-sxm-80gb").ridge("fp16"))
153
>>> model("llama-3-8b").kv_bytes_per_token("fp16") / 1024
128.0
"""

from kvlib.catalogue import device, devices, model, models

__all__ = ["device", "devices", "model", "models"]
__version__ = "0.1.0"
