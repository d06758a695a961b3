"""A box of GPUs, with or without something that attends beside them: what a step takes there."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from kvlib.checks import choose, positive, whole
from kvlib.footprint import Footprint, cache_bytes
from kvlib.hardware import Device
from kvlib.operators import plain
from kvlib.parallel import Parallel
from kvlib.phases import decode_step, prefill
from kvlib.precision import itemsize
from kvlib.schedule import Plan
from kvlib.step import Step
from kvlib.systems._attacc_beside import Host, Units
from kvlib.systems._attacc_work import layer_work, on_gpu
from kvlib.systems._cost import Cost
from kvlib.workload import Transformer

__all__ = ["CORRECTIONS", "Box"]

CORRECTIONS = {
    "split-attention": "the GPU spreads a long cache over idle processors, as its kernels do",
    "softmax": "the softmax of the units takes time; the simulator hides work behind it for free",
    "timed-coprocessing": "the units multiply matrices as fast as their DRAM lets them",
    "lm-head": "embedding, final norm and LM head exist, in time and in memory",
    "prompt-transfer": "keys and values of a prompt cross the link before generation starts",
    "unit-energy": "energies printed for a bit are spent on each of eight; both products count",
    "two-sockets": "the host has two sockets for all GPUs, not one for each",
}
"""What the simulator leaves out or slips on; name in `Box.corrected` what is to be put right."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Box:
    """GPUs that share a model by tensor parallelism, and what attends beside each of them.

    Parameters
    ----------
    gpu : Device
        Each of the GPUs.
    gpus : int
        How many.
    beside : Units or Host, optional
        What computes the attention of decode steps; the GPUs themselves if not given.
    gpu_model : {"simulator", "measured"}
        Whose GPU: that of the authors' simulator, or measured kernels (`kvlib.roofline`).
    pipelined : bool
        Whether heads follow each other through projections, link and attention.
    coprocessing : bool
        Whether the units take a part of the feed-forward network.
    corrected : frozenset of str
        Keys of `CORRECTIONS`.

    Raises
    ------
    UnknownName
        If the GPU model or a correction is unknown.
    """

    gpu: Device
    gpus: int = 8
    beside: Units | Host | None = None
    gpu_model: Literal["simulator", "measured"] = "simulator"
    pipelined: bool = False
    coprocessing: bool = False
    corrected: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        whole(gpus=self.gpus)
        choose(self.gpu_model, ["simulator", "measured"], "GPU model")
        for name in self.corrected:
            choose(name, CORRECTIONS, "correction")

    @property
    def capacity(self) -> float:
        """Bytes in the GPUs and in what is beside them [B]."""
        if self.beside is None:
            return self._own
        sides = 1 if isinstance(self.beside, Host) else self.gpus
        return self._own + sides * self.beside.capacity

    def correct(self, *names: str) -> "Box":
        """Return the box with some slips of the simulator put right, or all of them."""
        return replace(self, corrected=frozenset(names or CORRECTIONS))

    def decode(
        self, model: Transformer, *, batch: Any, context: Any, precision: str = "fp16"
    ) -> Cost:
        """One decode step of all layers.

        Parameters
        ----------
        model : Transformer
            The model.
        batch, context : int or array
            Sequences, and tokens in each cache with the new one.
        precision : str
            Format of weights, activations and cache.

        Returns
        -------
        Cost
            Times by part: what overlaps with attention counts as far as it shows.

        Raises
        ------
        ValueError
            If the heads cannot be split over the GPUs, or the units cannot hold the attention.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.attacc import dgx_attacc
        >>> cost = dgx_attacc("bank").decode(model("llama-3-70b"), batch=16, context=2049)
        >>> print(cost.assumptions[0])
        8 query heads share a KV head, which AttAcc's mapping does not know: each reads it again.
        """
        step = decode_step(
            model, batch=batch, context=context, precision=precision, parallel=self._parallel
        )
        return self._all_layers(step, precision)

    def generate(
        self, model: Transformer, *, batch: Any, prompt: int, tokens: int, precision: str = "fp16"
    ) -> Cost:
        """Mean decode step while `tokens` tokens follow a prompt; prefill makes the first of them.

        Examples
        --------
        The simulator says 30.19 ms:

        >>> from kvlib import model
        >>> from kvlib.systems.attacc import dgx_attacc
        >>> cost = dgx_attacc().generate(model("gpt-3-175b"), batch=54, prompt=2048, tokens=128)
        >>> print(f"{1e3 * cost.total:.2f} ms a token, {cost.total_energy / 54:.2f} J a token")
        30.18 ms a token, 0.42 J a token
        """
        whole(prompt=prompt, tokens=tokens)
        positive(**{"tokens - 1": tokens - 1})
        sequences = np.asarray(batch)[..., None] if np.ndim(batch) else batch
        context = prompt + np.arange(1, tokens)
        return self.decode(model, batch=sequences, context=context, precision=precision).mean()

    def prefill(
        self, model: Transformer, *, batch: Any, prompt: Any, precision: str = "fp16"
    ) -> Cost:
        """Read the prompts of all sequences into the cache, on the GPUs.

        Examples
        --------
        The simulator says 1.604 s:

        >>> from kvlib import model
        >>> from kvlib.systems.attacc import dgx
        >>> print(f"{dgx().prefill(model('opt-66b'), batch=8, prompt=2048).total:.3f} s")
        1.604 s
        """
        step = prefill(
            model, batch=batch, prompt=prompt, precision=precision, parallel=self._parallel
        )
        cost = replace(self, beside=None)._all_layers(step, precision)
        if self.beside is None or "prompt-transfer" not in self.corrected:
            return cost
        cache = cache_bytes(
            model, batch=batch, context=prompt, kv_precision=precision, parallel=self._parallel
        )
        return cost + Cost({"link": cache / self.beside.link}, {})

    def layer_plan(
        self, model: Transformer, *, batch: int, context: int, precision: str = "fp16"
    ) -> Plan:
        """Schedule of the first layer of a decode step, head by head, to be drawn.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.attacc import dgx_attacc
        >>> plan = dgx_attacc().layer_plan(model("gpt-3-175b"), batch=54, context=2049)
        >>> print({name: f"{part:.0%}" for name, part in plan.utilisation.items()})
        {'GPU': '66%', 'link': '1%', 'AttAcc': '42%', 'NVLink': '34%'}
        """
        step = decode_step(
            model, batch=batch, context=context, precision=precision, parallel=self._parallel
        ).layer(0)
        return layer_work(self, step, precision)[0].plan()

    def memory(
        self, model: Transformer, *, batch: Any, tokens: Any, precision: str = "fp16"
    ) -> dict[str, Footprint]:
        """Compare what a batch needs with what there is: in all, and in each place.

        Parameters
        ----------
        model, batch, precision
            As in `decode`.
        tokens : int or array
            Tokens in each cache at the end.

        Returns
        -------
        dict of str to Footprint
            ``"all"`` takes the box for one memory, as the simulator does. Where something attends
            beside the GPUs there are also ``"GPUs"``, which hold weights and workspace, and the
            name of the others, which must hold the whole cache.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.attacc import dgx_attacc
        >>> from kvlib.units import GB
        >>> found = dgx_attacc().memory(model("gpt-3-175b"), batch=100, tokens=2175)
        >>> {name: f"{state.shortfall / GB:.0f} GB short" for name, state in found.items()}
        {'all': '0 GB short', 'GPUs': '0 GB short', 'AttAcc': '339 GB short'}
        """
        whole(batch=batch, tokens=tokens)
        weights, cache, work = self._bytes(model, tokens, precision)
        found = {"all": Footprint(weights, batch * cache, batch * work, self.capacity)}
        if self.beside is not None:
            beside = self.capacity - self._own
            found["GPUs"] = Footprint(weights, 0.0, batch * work, self._own)
            found[self.beside.name] = Footprint(0.0, batch * cache, 0.0, beside)
        return found

    def largest_batch(
        self, model: Transformer, *, tokens: Any, precision: str = "fp16", pooled: bool = True
    ) -> Any:
        """Sequences that fit; 0 if not even the weights do.

        Parameters
        ----------
        model, tokens, precision
            As in `memory`.
        pooled : bool
            Whether the box is one memory, or each place holds what it works on.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.systems.attacc import dgx_attacc
        >>> gpt = model("gpt-3-175b")
        >>> for pooled in True, False:
        ...     print(dgx_attacc().largest_batch(gpt, tokens=2175, pooled=pooled))
        100
        66
        """
        weights, cache, work = self._bytes(model, tokens, precision)
        if pooled or self.beside is None:
            fits = (self.capacity - weights) / (cache + work)
        else:
            beside = self.capacity - self._own
            fits = np.minimum((self._own - weights) / work, beside / cache)
        return plain(np.maximum(np.floor(fits), 0).astype(int))

    def _bytes(self, model: Transformer, tokens: Any, precision: str) -> tuple[Any, Any, Any]:
        """Bytes of all weights, and of the cache and the workspace of one sequence.

        The workspace is the simulator's: scores and probabilities of all heads, and the widest
        activation.
        """
        size, hidden = itemsize(precision), model.hidden
        matrices = sum(
            count * (layer.attention.parameters(hidden) + layer.feed_forward.parameters(hidden))
            for layer, count in model.groups.items()
        )
        weights = model.parameters if "lm-head" in self.corrected else matrices
        heads = max(layer.attention.heads for layer in model.groups)
        widest = max(layer.feed_forward.width for layer in model.groups)
        work = size * np.maximum(2 * tokens * heads, widest + hidden) + tokens * heads
        cache = cache_bytes(model, batch=1, context=tokens, kv_precision=precision)
        return weights * size, cache, plain(work)

    @property
    def _parallel(self) -> Parallel:
        return Parallel(tensor=self.gpus)

    @property
    def _own(self) -> float:
        return float(self.gpus * self.gpu.memory().capacity)

    def _all_layers(self, step: Step, precision: str) -> Cost:
        total = Cost({}, {})
        for layer, count in step.model.groups.items():
            one = step.layer(step.model.layers.index(layer))
            work, energy, notes = layer_work(self, one, precision)
            total = total + Cost(work.times(), energy, notes) * count
        if self.gpu_model == "measured" or "lm-head" in self.corrected:
            head = replace(
                step,
                operators=tuple(each for each in step.operators if not each.layers),
                collectives=tuple(each for each in step.collectives if not each.layers),
            )
            total = total + Cost({"head": on_gpu(self, head, precision).time.total}, {})
        return total
