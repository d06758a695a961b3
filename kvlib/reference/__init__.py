"""The executable reference: a small transformer in NumPy that is counted while it runs.

`kvlib.phases` states closed forms for the operations and bytes of every operator. This package
executes the same operators on real arrays and counts what they do, by rules that look at the
arrays only (`kvlib.reference.tally`). The two must agree to the last byte, and decoding with the
cache must give what a pass over the whole sequence gives. It knows nothing of `phases`, so
agreement means something.
"""

from kvlib.reference.cache import Cache
from kvlib.reference.model import Reference
from kvlib.reference.tally import Tally, Watched, operator

__all__ = ["Cache", "Reference", "Tally", "Watched", "operator"]
