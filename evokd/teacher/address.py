"""Where a server is, and whether its key may travel there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from evokd.errors import MissingExtra, TeacherError
from evokd.teacher import KEY

try:
    import httpx
except ImportError as missing:
    raise MissingExtra("teacher", missing) from missing

EXAMPLE = "teacher.model is like http://127.0.0.1:8080/v1, or .../v1#MODEL where it has several"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        base: what OpenAI's paths are added to, such as "http://127.0.0.1:8080/v1".
        model: the model named after "#", empty when none is.
        near: whether it is this machine or one with a private address.
    """

    base: str
    model: str
    near: bool

    @property
    def root(self) -> str:
        """What the server's own paths are added to."""
        return self.base.removesuffix("/v1")


def parse_address(text: str) -> Address:
    """Return the address that `teacher.model` names.

    Raises:
        TeacherError: when it is no address, or carries a password or a query.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as problem:
        raise TeacherError(f"teacher.model is no address: {problem}", EXAMPLE) from None
    if url.userinfo or url.query:
        raise TeacherError(
            f"teacher.model must not hold a key or a query: {url.scheme}://{url.host}",
            f"put the key into the environment variable {KEY}",
        )
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
        raise TeacherError(f"teacher.model is no address: {text}", EXAMPLE)
    path = url.path.rstrip("/") or "/v1"
    base = str(url.copy_with(path=path, fragment=None)).rstrip("/")
    return Address(base, url.fragment.strip(), _is_near(url.host))


def _is_near(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private


def checked_key(key: str, address: Address) -> str:
    """Return the key without blanks around it, empty when there is none.

    Raises:
        TeacherError: when it is malformed, or would cross a public network unencrypted.
    """
    key = key.strip()
    if not key:
        return ""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise TeacherError(f"{KEY} holds signs that no key has", "set it again, without quotes")
    if address.base.startswith("http:") and not address.near:
        raise TeacherError(
            f"{address.base}: the key in {KEY} would be readable on the way",
            f"use https, a tunnel to localhost, or unset {KEY}",
        )
    return key
