"""Operations: one method on one path as data; routes, keys, limits and /openapi.json follow from them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from api.calls import Call
from api.keys import OPEN_ID, Keys, Scope
from api.metrics import Metrics
from api.problems import Problem, answer
from api.replies import Reply, emit
from streams.errors import Refused

Handler = Callable[[Call], Awaitable[Reply]]


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query string that holds nothing."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method on one path.

    `bodies` are the types a request body may have (several: one of them), `answers` the type of the reply at
    each status;
    """

    method: str
    path: str
    name: str
    scope: Scope
    summary: str
    handler: Handler
    query: type[msgspec.Struct] = NoParameters
    bodies: tuple[Any, ...] = ()
    answers: dict[int, Any]
    media: str = "application/json"
    problems: tuple[int, ...] = ()


class Endpoint:
    """An operation as an ASGI application: key, handler, reply or problem, figures."""

    def __init__(self, operation: Operation, keys: Keys, metrics: Metrics) -> None:
        self._operation = operation
        self._handler = operation.handler
        self._scope = operation.scope
        self._bare = operation.query is NoParameters
        self._keys = keys
        self._metrics = metrics
        self._where = f"{operation.method} {operation.path}"
        self._observe = metrics.latency_of(self._where).observe

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        key_id = OPEN_ID
        try:
            key_id = self._keys.admit(scope["headers"], self._scope)
            call = Call(scope, receive, key_id, self._keys)
            if self._bare and scope["query_string"]:
                call.query(NoParameters)
            reply = await self._handler(call)
        except Exception as error:  # noqa: BLE001 - the last net: every error becomes a problem
            if isinstance(error, Refused):
                self._metrics.refuse("request", str(error))
            elif isinstance(error, Problem) and error.status in (400, 408, 413, 415):
                self._metrics.refuse("request", error.name)
            reply = answer(error, key_id, self._where)
        await emit(reply, send)
        self._observe(perf_counter() - started)
        self._metrics.requests_of(self._where, reply.status).inc()


class ByMethod:
    """The operations of one path; HEAD is GET without its body, which the server leaves out."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Hand the request to its method's operation."""
        method = scope["method"]
        await self._endpoints["GET" if method == "HEAD" else method](scope, receive, send)


def routes(operations: Sequence[Operation], keys: Keys, metrics: Metrics) -> list[Route]:
    """Return one route for each path, in the order of the operations."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = Endpoint(operation, keys, metrics)
    return [
        Route(path, ByMethod(endpoints), methods=list(endpoints), name=path)
        for path, endpoints in paths.items()
    ]


class EscapedPaths:
    """Match routes on the path as it was sent, so that an id may hold a slash, escaped as %2F."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Hand on the request with its escaped path; endpoints decode their parameters."""
        if scope["type"] == "http" and b"%" in (raw := scope.get("raw_path") or b""):
            scope["path"] = raw.decode("latin-1")
        await self._app(scope, receive, send)
