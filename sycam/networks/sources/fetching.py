"""Weights that a library publishes: from its cache on this machine, or downloaded into it."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import torch

from sycam.errors import NetworkError
from sycam.support.arguments import argument

PATIENCE = 10  # seconds until a server that does not answer counts as out of reach


def downloaded(url: str, what: str) -> Path:
    """The file behind a URL, in torch's cache of checkpoints; downloaded where it is not there.

    Raises:
        NetworkError: it is not there and cannot be downloaded; the message says where to put it.
    """
    own = argument("network", f"{what.partition('@')[0]}@FILE")
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if file.is_file():
        return file
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE):
            pass
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), progress=False)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise NetworkError(
            f"the weights of {what} are not on this machine and cannot be downloaded ({reason}). "
            f"Download {url} where there is a connection, and put the file at {file}; or give "
            f"your own weights by {own}"
        ) from error
    return file
