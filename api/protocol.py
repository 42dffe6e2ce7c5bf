"""The HTTP protocol of uvicorn, with bounds it lacks on the headers of a request: their size and their time.

Without them one client that sends headers without end, or one byte a minute, holds memory and a connection.
"""

from asyncio import BaseTransport, TimerHandle
from time import perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.admission import ARRIVED

MAX_HEADERS = 16 * 1024  # bytes
HEADER_SECONDS = 5.0
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """One connection; also stamps each request with the time of its arrival, for api/admission.py."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._in_headers = True  # of the request that comes, or will come
        self._header_bytes = 0
        self._impatience: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._impatience = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._be_patient()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, unless the headers have grown too large."""
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if not self._in_headers:
            return
        if self._header_bytes > MAX_HEADERS and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._impatience is None and self._header_bytes:
            self._impatience = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def on_headers_complete(self) -> None:
        """Hand the request on, with the time of its arrival."""
        self._in_headers = False
        self._header_bytes = 0
        if self._impatience is not None:
            self._be_patient()
        self.scope[ARRIVED] = perf_counter()  # type: ignore[literal-required]
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next request."""
        self._in_headers = True
        super().on_message_complete()

    def _be_patient(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _give_up(self) -> None:
        self._impatience = None
        if self._in_headers and not self.transport.is_closing():
            self.transport.close()
