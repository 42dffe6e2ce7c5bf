"""Calls: one request as an endpoint sees it; reads the body within its bounds and decodes it."""

import asyncio
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive
from starlette.types import Scope as AsgiScope

from api.keys import Keys, Scope
from api.problems import Problem
from api.query import Q, parse, unquote
from streams.checks import MAX_ID_BYTES, check_ids
from streams.errors import Refused

SINGLE = 64 * 1024  # bytes of a body with one thing
BATCH = 1024 * 1024  # bytes of a body with many
BODY_SECONDS = 10.0
JSON = frozenset((b"application/json",))
MSGPACK = frozenset((b"application/msgpack", b"application/x-msgpack", b"application/vnd.msgpack"))
T = TypeVar("T")


class Call:
    """One request: its path parameters, query and body."""

    __slots__ = ("_keys", "_receive", "key_id", "packed", "scope")

    def __init__(self, scope: AsgiScope, receive: Receive, key_id: str, keys: Keys) -> None:
        self.scope = scope
        self.key_id = key_id
        self._keys = keys
        self.packed = False  # whether the body is MessagePack; known once it is read
        self._receive = receive

    def id(self, name: str, prefix: str = "") -> str:
        """Return an id of the path, before which the prefix may stand; raises Refused beyond the bounds of ids."""
        value: str = self.scope["path_params"][name]
        if "%" in value:
            value = unquote(value.encode())
        if len(value) > 64:
            bare = value.removeprefix(prefix)
            check_ids(bare)
            if len(bare) > MAX_ID_BYTES:
                raise Refused(f"id {value[:32]!r}... is over {MAX_ID_BYTES} bytes")
        return value

    def require(self, scope: Scope) -> None:
        """Raise Problem 403 unless the key reaches a further scope, which only some parameters need."""
        self._keys.admit(self.scope["headers"], scope)

    def query(self, kind: type[Q]) -> Q:
        """Return the parameters of the query string."""
        parsed: Q = parse(kind, self.scope["query_string"])
        return parsed

    def header(self, name: bytes) -> bytes:
        """Return a header, empty when absent."""
        return next((value for key, value in self.scope["headers"] if key == name), b"")

    async def body(self, limit: int) -> bytes:
        """Return the body; raises Problem 408, 413 or 415.

        The media type must be named: a web page of another site can make a browser send a form or plain
        text unasked, but neither JSON nor MessagePack.
        """
        media = self.header(b"content-type").partition(b";")[0].strip().lower()
        if media not in JSON and media not in MSGPACK:
            said = media.decode("latin-1")[:64]
            raise Problem(
                415, "media-type", f"content-type {said!r} is not application/json or application/msgpack"
            )
        self.packed = media in MSGPACK
        length = self.header(b"content-length")
        if length.isdigit() and int(length[:20]) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read(limit)
        except TimeoutError:
            raise Problem(408, "slow-body", f"the body did not arrive within {BODY_SECONDS:.0f} s") from None

    async def _read(self, limit: int) -> bytes:
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "syntax", "the client went away before the body was complete")
            part = message.get("body", b"")
            size += len(part)
            if size > limit:  # chunked bodies do not say their length beforehand
                raise _too_large(limit)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def read(self, kind: type[T], limit: int) -> T:
        """Return the decoded body; raises Problem 400 for broken bytes, Refused for a broken contract."""
        decoded: T = decode(await self.body(limit), kind, packed=self.packed)
        return decoded


def decode(data: bytes | msgspec.Raw, kind: Any, *, packed: bool) -> Any:
    """Decode JSON or MessagePack; raises Problem 400 for broken bytes, Refused for a broken contract."""
    try:
        return msgspec.msgpack.decode(data, type=kind) if packed else msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise Refused(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "syntax", f"not {'MessagePack' if packed else 'JSON'}: {error}") from None
    except RecursionError:
        raise Problem(400, "syntax", "the body is nested too deeply") from None


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", f"the body is over {limit} bytes")
