"""API keys: who may write, read or administer; only hashes are kept, and only a key's id is ever logged."""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from api.problems import Problem
from streams.errors import SettingsError

Scope = Literal["open", "write", "read", "admin"]
SCOPES = ("write", "read", "admin")
OPEN_ID = "open"  # stands for the key where none is set
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Key:
    """One accepted key; `admin` includes every other scope."""

    id: str
    scopes: frozenset[str]
    digest: bytes

    def may(self, scope: Scope) -> bool:
        """Tell whether the key reaches a scope."""
        return scope in self.scopes or "admin" in self.scopes


def mint(key_id: str, scope: str) -> tuple[str, str]:
    """Return a new secret, to be handed over once, and its entry for REFOLD_API_KEYS.

    >>> secret, entry = mint("shop", "read+write")
    >>> entry.startswith("shop:read+write:"), secret in entry
    (True, False)
    """
    secret = f"rf_{secrets.token_urlsafe(32)}"
    entry = f"{key_id}:{scope}:{hashlib.sha256(secret.encode()).hexdigest()}"
    _parse(entry)
    return secret, entry


def _parse(entry: str) -> Key:
    key_id, _, rest = entry.strip().partition(":")
    scope, _, digest = rest.partition(":")
    if not _ID.fullmatch(key_id):
        raise SettingsError(f"REFOLD_API_KEYS: {key_id[:64]!r} is not a key id; letters, digits, _ . - only")
    scopes = frozenset(scope.split("+"))
    if not scopes <= frozenset(SCOPES):
        raise SettingsError(
            f"REFOLD_API_KEYS: key {key_id!r} has scope {scope[:64]!r}; known are {SCOPES}, joined by +"
        )
    if not _HASH.fullmatch(digest):  # never repeat it: someone may have pasted the secret itself
        raise SettingsError(f"REFOLD_API_KEYS: key {key_id!r} is not followed by a SHA-256 in hexadecimal")
    return Key(key_id, scopes, bytes.fromhex(digest))


def loopback(host: str) -> bool:
    """Tell whether an address or host name stays on this machine.

    >>> loopback("localhost"), loopback("127.0.0.9"), loopback("::1"), loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Keys:
    """The accepted keys; with none set everything is open, to this machine alone."""

    def __init__(self, entries: str = "") -> None:
        self._keys = [_parse(entry) for entry in entries.split(",") if entry.strip()]
        if len({key.id for key in self._keys}) != len(self._keys):
            raise SettingsError("REFOLD_API_KEYS: two keys have the same id")
        self._hosts: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def admit(self, headers: Headers, scope: Scope) -> str:
        """Return the id of the key that opens `scope`; raises Problem 401 or 403."""
        if not self._keys:
            return self._admit_local(headers)
        if scope == "open":
            return OPEN_ID
        secret = _presented(headers)
        if not secret:
            raise Problem(
                401, "unauthorized", "send an API key: Authorization: Bearer KEY, or X-API-Key: KEY"
            )
        digest = hashlib.sha256(secret).digest()
        found = None
        for key in self._keys:  # all of them, each in constant time: the time taken names no key
            if hmac.compare_digest(digest, key.digest):
                found = key
        if found is None:
            raise Problem(401, "unauthorized", "the API key is unknown")
        if not found.may(scope):
            raise Problem(403, "forbidden", f"key {found.id!r} lacks the scope {scope!r}")
        return found.id

    def _admit_local(self, headers: Headers) -> str:
        """Refuse another Host: a web page whose name was pointed at 127.0.0.1 may not read what is here."""
        host = next((value for name, value in headers if name == b"host"), b"")
        if host not in self._hosts:
            name = host.decode("latin-1").lower()
            name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
            if not loopback(name):
                raise Problem(
                    403, "forbidden", "no API key is set, so only requests to a loopback host are answered"
                )
            if len(self._hosts) < 64:
                self._hosts.add(host)
        return OPEN_ID


def _presented(headers: Headers) -> bytes:
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return b""
