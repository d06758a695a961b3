"""How well the catalogue is founded: its figures counted by what kind of statement each is."""

from collections.abc import Iterable

from kvlib.catalogue._devices import device, devices
from kvlib.catalogue._models import model, models
from kvlib.hardware import Device
from kvlib.quoted import BASES
from kvlib.workload import Transformer

__all__ = ["count_by_basis"]


def count_by_basis(cards: Iterable[Device | Transformer] | None = None) -> dict[str, int]:
    """Figures, flags and words of some cards by basis.

    Parameters
    ----------
    cards : iterable of Device or Transformer, optional
        What to count; the whole catalogue if not given.

    Returns
    -------
    dict of str to int
        Count of each basis, in the order of `kvlib.quoted.BASES`.

    Examples
    --------
    >>> count_by_basis([model("llama-3-8b")])["unconfirmed"]
    0
    """
    if cards is None:
        cards = [*map(device, devices()), *map(model, models())]
    bases = [figure.basis for card in cards for figure in card.provenance.values()]
    return {basis: bases.count(basis) for basis in BASES}
