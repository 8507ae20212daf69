"""Passwords in URLs, which belong in no file and no message."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

_MASK = "***"
# Of what stands before the last @ of the address, and of parameters that are named for one.
_OF_USER = re.compile(r"(?<=://)(?P<user>[^:/?#@]*):(?P<secret>.*)(?=@)", re.DOTALL)
_OF_PARAMETER = re.compile(
    r"(?P<name>[?&;][^=&;#]*(?:pass|pwd|secret|token|key)[^=&;#]*=)(?P<secret>[^&;#]*)", re.I
)


def masked(url: str) -> str:
    """The URL with ``***`` for its password.

    >>> masked("postgresql://me:secret@host/db"), masked("sqlite:///study.db")
    ('postgresql://me:***@host/db', 'sqlite:///study.db')
    """
    url = _OF_USER.sub(rf"\g<user>:{_MASK}", url)
    return _OF_PARAMETER.sub(rf"\g<name>{_MASK}", url)


def masked_in(text: str, url: str) -> str:
    """A text, like a driver's error, with ``***`` for the URL's password in whatever form."""
    if url:
        text = text.replace(url, masked(url))
    found = [*_OF_USER.finditer(url), *_OF_PARAMETER.finditer(url)]
    for secret in (match["secret"] for match in found):
        for form in {secret, unquote(secret), unquote_plus(secret)} - {"", _MASK}:
            text = text.replace(form, _MASK)
    return text
