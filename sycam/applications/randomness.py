"""Random numbers that are decided by what they are drawn for."""

from __future__ import annotations

import hashlib

import torch


def generator_of(*parts: object) -> torch.Generator:
    """A CPU generator seeded by what it is for."""
    text = "/".join(map(str, parts))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)
