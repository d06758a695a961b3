"""Devices, links, models and measured kernels as cards with a source for every figure."""

from kvlib.catalogue._cards import CardError
from kvlib.catalogue._devices import KINDS, device, devices
from kvlib.catalogue._efficiency import architectures, constants
from kvlib.catalogue._huggingface import UnreadFields
from kvlib.catalogue._models import model, models

__all__ = [
    "KINDS",
    "CardError",
    "UnreadFields",
    "architectures",
    "constants",
    "device",
    "devices",
    "model",
    "models",
]
