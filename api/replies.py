"""Replies: status, bytes and headers, as an endpoint hands them back and ASGI sends them."""

from typing import Any, NamedTuple

import msgspec
from starlette.types import Send

JSON = b"application/json"
_encoder = msgspec.json.Encoder(decimal_format="number")


class Reply(NamedTuple):
    """One answer, ready to be sent."""

    status: int
    body: bytes
    media: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def as_json(value: Any, status: int = 200) -> Reply:
    """Return a value as a reply."""
    return Reply(status, _encoder.encode(value))


async def emit(reply: Reply, send: Send) -> None:
    """Send a reply."""
    body = reply.body
    headers = [(b"content-type", reply.media), (b"content-length", b"%d" % len(body)), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
