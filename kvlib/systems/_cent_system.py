"""Devices of CENT behind one switch: where the blocks go, and what a token takes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kvlib.checks import choose, whole
from kvlib.footprint import Footprint, cache_bytes
from kvlib.nearmemory import BankPim
from kvlib.operators import plain
from kvlib.quoted import Quoted
from kvlib.systems._cent_block import MATRICES, embedding, notes
from kvlib.systems._cent_gpu import PHASES, Served
from kvlib.systems._cent_program import Place
from kvlib.systems._cent_token import CORRECTIONS, Block, block_energy, one_block, slowed
from kvlib.systems._cost import Cost, added
from kvlib.units import ms
from kvlib.workload import Attention, Layer, Transformer

__all__ = ["Cent"]

HOST = Quoted(0.15 * ms, source="cent2025repo", basis="assumed", unit="ms", note="picks the token")


@dataclass(frozen=True, kw_only=True, eq=False)
class Cent:
    """Devices that hold a whole model, each query in one place at a time.

    Parameters
    ----------
    pim : BankPim
        One device.
    devices : int
        How many.
    tensor : int, optional
        Devices that share the matrices of a block; the queries in flight are the devices over this.
        If not given, blocks go one to a group of channels and each is a stage of its own.
    spread_values : bool
        Whether these devices share the values too, or one of them holds them. The authors spread
        them for contexts above 4,096.
    corrected : frozenset of str
        Keys of `CORRECTIONS`.

    Raises
    ------
    ValueError
        If `tensor` does not divide the devices.
    UnknownName
        If a correction is unknown.
    """

    pim: BankPim
    devices: int = 32
    tensor: int | None = None
    spread_values: bool = False
    corrected: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        whole(devices=self.devices, tensor=self.tensor or 1)
        if self.tensor and self.devices % self.tensor:
            raise ValueError(
                f"tensor = {self.tensor} does not divide devices = {self.devices}: every stage "
                f"takes as many. Choose a divisor of {self.devices}."
            )
        for name in self.corrected:
            choose(name, CORRECTIONS, "correction")

    def correct(self, *names: str) -> "Cent":
        """Return the system with some slips of the authors' model put right, or all of them."""
        return replace(self, corrected=frozenset(names or CORRECTIONS))

    def place(self, model: Transformer) -> Place:
        """Where a block lies.

        Raises
        ------
        ValueError
            If a device has fewer channels than blocks, or there are fewer layers than stages.
        """
        layers = len(model.layers)
        if self.tensor is None:
            blocks = -(-layers // self.devices)
            if blocks > self.pim.channels:
                raise ValueError(
                    f"{layers} layers over {self.devices} devices make {blocks} to a device of "
                    f"{self.pim.channels} channels. Use {-(-layers // self.pim.channels)} devices "
                    f"or more."
                )
            return Place(pim=self.pim, channels=self.pim.channels // blocks)
        if self.devices // self.tensor > layers:
            raise ValueError(
                f"{self.devices // self.tensor} stages, but only {layers} layers: raise tensor = "
                f"{self.tensor}, or leave it out."
            )
        return Place(
            pim=self.pim, channels=self.pim.channels, devices=self.tensor,
            spread_values=self.spread_values,
        )  # fmt: skip

    def stages(self, model: Transformer) -> int:
        """Stages of the pipeline, each with one query at a time."""
        return len(model.layers) if self.tensor is None else self.devices // self.tensor

    def used(self, model: Transformer) -> int:
        """Devices that hold something.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.cent import cent
        >>> cent().used(model("llama-2-70b"))
        27
        """
        if self.tensor is not None:
            return self.devices
        return -(-len(model.layers) // self.place(model).blocks)

    def block(self, model: Transformer, *, context: Any, layer: Layer | None = None) -> Block:
        """One block for one token; the first layer's unless given.

        Examples
        --------
        The authors' simulator says 293.2 us in the banks, and 35.7 us near the memory:

        >>> from kvlib import model
        >>> from kvlib.systems.cent import cent
        >>> found = cent(devices=8).block(model("llama-2-7b"), context=2048)
        >>> print(f"{1e6 * found.banks:.1f} us, {1e6 * found.accelerators:.1f} us")
        293.3 us, 35.7 us
        """
        whole(context=context)
        return one_block(
            model, layer or model.layers[0], self.place(model), context, devices=self.devices,
            shared=self.tensor is not None, corrected=self.corrected,
        )  # fmt: skip

    def decode(self, model: Transformer, *, context: Any) -> Cost:
        """One token of one query through all blocks.

        Parameters
        ----------
        model : Transformer
            The model.
        context : int or array
            Tokens in its cache with the new one.

        Returns
        -------
        Cost
            Times that add up to the latency of the token, and its energy.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.cent import cent
        >>> cost = cent().decode(model("llama-2-70b"), context=4096)
        >>> print(f"{1e3 * cost.total:.1f} ms, {cost.total_energy:.3f} J")
        82.2 ms, 0.737 J
        >>> cost.assumptions
        ('8 query heads share a KV head; each reads it again, as CENT maps it.',)
        """
        return self._token(model, context)[0]

    def power(self, model: Transformer, *, context: Any) -> Any:
        """Power of all devices while every stage works on a token of this context [W].

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.cent import cent
        >>> print(f"{cent().power(model('llama-2-70b'), context=4096):.0f} W")
        794 W
        """
        cost, banks = self._token(model, context)
        time = cost.total if "mean-power" in self.corrected else banks
        return plain(cost.total_energy * self.stages(model) / time)

    def serve(
        self,
        model: Transformer,
        *,
        prompt: int = 512,
        tokens: int = 3584,
        batch: Any = None,
        gap: int = 1,
    ) -> Served:
        """Read a prompt, token by token, and write an answer, for as many queries as stages.

        Parameters
        ----------
        model : Transformer
            The model.
        prompt, tokens : int
            Tokens read and written.
        batch : int or array, optional
            Queries in flight; as many as stages unless given. More wait, fewer leave stages empty.
            Whether they fit is another question: see `memory`.
        gap : int
            Contexts counted, one in so many.

        Raises
        ------
        ValueError
            If a number is not whole and above zero, or the gap is longer than prompt or answer.

        Examples
        --------
        The authors count one context in 128 and print 1185 tokens a second, 280.6 s, 0.693 J a
        token and 874 W:

        >>> from kvlib import model
        >>> from kvlib.systems.cent import cent
        >>> found = cent().serve(model("llama-2-70b"), gap=128)
        >>> print(f"{found.rate['end2end']:.0f} token/s, {found.time['end2end']:.1f} s")
        1184 token/s, 280.8 s
        >>> print(f"{found.energy['end2end']:.3f} J, {found.power['end2end']:.0f} W")
        0.693 J, 873 W
        """
        whole(prompt=prompt, tokens=tokens, gap=gap)
        if gap > min(prompt, tokens):
            raise ValueError(
                f"gap = {gap} leaves no context to count in prompt = {prompt} or tokens = "
                f"{tokens}: it can be at most {min(prompt, tokens)}."
            )
        stages = self.stages(model)
        queries = stages if batch is None else batch
        whole(batch=queries)
        context = np.arange(gap, prompt + tokens + 1, gap)
        cost, banks = self._token(model, context)
        latency, energy = cost.total, cost.total_energy
        balance = self._balance(model)
        full, wait = np.minimum(queries / stages, 1.0), np.maximum(queries / stages, 1.0)
        lengths = (prompt, tokens, prompt + tokens)
        chosen = (context <= prompt, context > prompt, context > 0)
        served = Served(queries, {}, {}, {}, {})
        for phase, length, rows in zip(PHASES, lengths, chosen, strict=True):
            time, spent = np.mean(latency[rows]), np.mean(energy[rows])
            mean = 1 / time if "mean-rate" in self.corrected else np.mean(1 / latency[rows])
            rate = stages * full * balance * mean
            drawn = np.mean(energy[rows] / banks[rows]) * stages * full
            served.time[phase] = plain(time * length * wait / balance)
            served.rate[phase] = plain(rate)
            served.energy[phase] = plain(spent)
            served.power[phase] = plain(spent * rate if "mean-power" in self.corrected else drawn)
        return served

    def memory(self, model: Transformer, *, batch: Any, tokens: Any) -> Footprint:
        """Compare what a stage needs with what it has: its weights, and every query's cache.

        Each query meets every block, so each block keeps the caches of all of them.

        Parameters
        ----------
        model : Transformer
            The model; embedding and LM head lie elsewhere.
        batch, tokens : int or array
            Queries, and tokens in the cache of each at the end.

        Examples
        --------
        The 80 queries of 32,768 tokens that the authors time do not fit:

        >>> from kvlib import model
        >>> from kvlib.systems.cent import cent
        >>> state = cent().memory(model("llama-2-70b"), batch=80, tokens=32768)
        >>> print(f"{state.fits}: {state.shortfall / 1e9:.1f} GB short in every 10 channels")
        False: 7.1 GB short in every 10 channels
        """
        place, layers = self.place(model), len(model.layers)
        share = place.channels / self.pim.channels * (self.tensor or 1)
        held = 1 if self.tensor is None else -(-layers // self.stages(model))
        hidden, size = model.hidden, 2.0
        weights = size * held * max(
            layer.attention.parameters(hidden) + layer.feed_forward.parameters(hidden)
            for layer in model.groups
        )  # fmt: skip
        cache = cache_bytes(model, batch=batch, context=tokens, kv_precision="bf16")
        again = added(_kept(layer) * n for layer, n in model.groups.items()) / layers
        return Footprint(weights, cache * held / layers * again, 0.0, self.pim.capacity * share)

    def largest_batch(self, model: Transformer, *, tokens: Any) -> Any:
        """Queries that fit; 0 if not even the weights do.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.cent import cent
        >>> for tokens in (4096, 16384, 32768):
        ...     print(tokens, cent().largest_batch(model("llama-2-70b"), tokens=tokens))
        4096 218
        16384 54
        32768 27
        """
        one = self.memory(model, batch=1, tokens=tokens)
        return plain(np.floor(one.free_for_cache / one.cache).astype(int))

    def _balance(self, model: Transformer) -> float:
        """Pace of the fullest stage over that of the mean one."""
        each = len(model.layers) / self.stages(model)
        return each / np.ceil(each) if "whole-layers" in self.corrected else 1.0

    def _token(self, model: Transformer, context: Any) -> tuple[Cost, Any]:
        """A token's cost, and the part of its time that its blocks spend in the banks [s]."""
        total, place, banks = Cost({}, {}), self.place(model), 0.0
        for layer, count in model.groups.items():
            one = self.block(model, context=context, layer=layer)
            times = {
                "matrices": one.part(*MATRICES),
                "attention": one.part("scores", "values"),
                "softmax in banks": one.part("softmax"),
            }
            times["vectors in banks"] = one.banks - added(times.values())
            spent = block_energy(place, one, corrected=self.corrected)
            times |= {"near-memory units": one.accelerators, "messages": one.messages}
            total = total + Cost(times, spent, notes(layer)) * count
            banks = banks + count * one.banks
        if self.tensor is None:  # blocks side by side in a device run, and are counted, together
            passes = self.used(model) / len(model.layers)
            energy = {name: passes * part for name, part in total.energy.items()}
            total = replace(total, energy=energy)
        ends = embedding(place, model.hidden, model.vocabulary, look_up="look-up" in self.corrected)
        beside = {"embedding": slowed(place, self.corrected) * ends.total, "host": float(HOST)}
        return total + Cost(beside, {}), banks


def _kept(layer: Layer) -> float:
    """Bytes stored over those of the cache: MLA's values lie a second time, by dimension."""
    attention = layer.attention
    if isinstance(attention, Attention):
        return 1.0
    return 1 + attention.kv_rank / attention.kv_elements
