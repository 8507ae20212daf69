"""Dear measurements on disk, by the content that decides them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sycam.digests import tensor_digest

VERSION = 3  # of what is measured: raised when a leaf's definition or its values change


def default_folder() -> Path | None:
    """Where measurements are kept: ``$SYCAM_CACHE``, else the user's cache folder.

    ``SYCAM_CACHE=off`` keeps nothing.
    """
    chosen = os.environ.get("SYCAM_CACHE")
    if chosen is not None:
        return None if chosen in ("", "0", "off") else Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sycam" / "leaves"


class Cache:
    """One small file a leaf and image.

    A file that is missing, half-written, damaged or of another version is measured again. What
    cannot be written is not kept, and :attr:`trouble` says why.

    Args:
        folder: where the files lie; made when the first is written. None keeps nothing.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.trouble = ""

    def read(self, key: str) -> Tensor | None:
        """The tensor kept under a key, on the CPU; None where there is none to trust."""
        if self.folder is None:
            return None
        try:
            with safe_open(self._file(key), framework="pt") as file:
                facts = file.metadata() or {}
                tensor = file.get_tensor("value")
        except (OSError, SafetensorError, ValueError):
            return None
        whole = facts.get("key") == key and facts.get("digest") == tensor_digest(tensor)
        return tensor if whole else None

    def write(self, key: str, tensor: Tensor) -> None:
        """Keep a tensor, whole or not at all."""
        if self.folder is None or self.trouble:
            return
        tensor = tensor.detach().cpu().contiguous()
        data = save({"value": tensor}, {"key": key, "digest": tensor_digest(tensor)})
        target = self._file(key)
        draft = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
                draft = file.name
                file.write(data)
            os.replace(draft, target)
        except OSError as error:
            self.trouble = f"measurements are not kept for the next run: {error}"
            if draft:
                Path(draft).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def key_of(**facts: object) -> str:
    """SHA-256 of everything that decides a measurement."""
    return hashlib.sha256(json.dumps([VERSION, facts], sort_keys=True).encode()).hexdigest()
