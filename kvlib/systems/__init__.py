"""Published systems, each put together from the parts of `kvlib` in a short module.

>>> from kvlib import model
>>> from kvlib.systems import attacc
>>> gpt, size = model("gpt-3-175b"), {"batch": 54, "prompt": 2048, "tokens": 128}
>>> for box in attacc.dgx(), attacc.dgx_attacc():
...     print(f"{1e3 * box.generate(gpt, **size).total:.1f} ms a token")
55.8 ms a token
30.2 ms a token
"""

from kvlib.systems import attacc

__all__ = ["attacc"]
