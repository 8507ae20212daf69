"""Expensive measurements on disk, by the content that decides them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sycam.support.caches import private_folder, private_user_cache, user_cache
from sycam.support.content_digest import tensor_digest
from sycam.support.files import check_target, write_whole

VERSION = 3  # of what is measured: raised when a leaf's definition or its values change
_LEAVES = "leaves"


def default_folder() -> Path | None:
    """Where measurements are kept: ``$SYCAM_CACHE``, else the user's cache folder.

    ``SYCAM_CACHE=off`` keeps nothing.
    """
    chosen = os.environ.get("SYCAM_CACHE")
    if chosen is not None:
        return None if chosen in ("", "0", "off") else Path(chosen)
    return user_cache(_LEAVES)


class Cache:
    """One small file a leaf and image.

    A file that is missing, half-written, damaged or of another version is measured again. What
    cannot be written is not kept, and :attr:`trouble` says why.

    The files are trusted as the user's own: their digests find damage, not forgery. So the folder
    is made for this user alone, and one that belongs to another user, or that others may write
    into, is not used.

    Args:
        folder: where the files lie; made when it is first needed. None keeps nothing.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.trouble = ""
        self._checked = self._refused = False

    def read(self, key: str) -> Tensor | None:
        """The tensor kept under a key, on the CPU; None where there is none to trust."""
        if not self._usable():
            return None
        try:
            check_target(self._file(key))  # a named pipe would be waited for
            with safe_open(self._file(key), framework="pt") as file:
                facts = file.metadata() or {}
                tensor = file.get_tensor("value")
        except (OSError, SafetensorError, ValueError):
            return None
        whole = facts.get("key") == key and facts.get("digest") == tensor_digest(tensor)
        return tensor if whole else None

    def write(self, key: str, tensor: Tensor) -> None:
        """Keep a tensor, whole or not at all."""
        if not self._usable() or self.trouble:
            return
        tensor = tensor.detach().cpu().contiguous()
        data = save({"value": tensor}, {"key": key, "digest": tensor_digest(tensor)})
        try:
            write_whole(self._file(key), data, sync=False)  # damage is found by the digest
        except OSError as error:
            self.trouble = f"measurements are not kept for the next run: {error}"

    def _usable(self) -> bool:
        """Whether there is a folder that only this user writes into."""
        if self.folder is not None and not self._checked:
            self._checked = True
            try:
                if self.folder == user_cache(_LEAVES):
                    private_user_cache(_LEAVES)
                else:
                    private_folder(self.folder)
            except OSError as error:
                self._refused = True
                self.trouble = f"measurements are not kept for the next run: {error}"
        return self.folder is not None and not self._refused

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def key_of(**facts: object) -> str:
    """SHA-256 of everything that decides a measurement."""
    return hashlib.sha256(json.dumps([VERSION, facts], sort_keys=True).encode()).hexdigest()
