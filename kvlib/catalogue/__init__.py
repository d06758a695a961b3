"""Devices, links, models and measured kernels as cards with a source for every figure."""

from kvlib.catalogue._census import count_by_basis
from kvlib.catalogue._devices import KINDS, device, devices
from kvlib.catalogue._efficiency import architectures, constants
from kvlib.catalogue._huggingface import UnreadFields
from kvlib.catalogue._models import model, models
from kvlib.catalogue._shelf import CardError

__all__ = [
    "KINDS",
    "CardError",
    "UnreadFields",
    "architectures",
    "constants",
    "count_by_basis",
    "device",
    "devices",
    "model",
    "models",
]
