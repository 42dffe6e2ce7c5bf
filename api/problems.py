"""Problems: every error the API answers, as application/problem+json (RFC 9457)."""

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from uuid_utils import uuid7

from api.replies import Reply
from streams.errors import Refused, Unavailable

log = logging.getLogger("refold.api")
MEDIA = b"application/problem+json"
RETRY_AFTER = "1"  # seconds


class ProblemDetails(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 writes it; `request_id` finds it in the log, further members depend on `type`."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """An answer that is an error; `name` is stable for programs, `detail` is for people.

    `more` are further members of the document.
    """

    def __init__(
        self, status: int, name: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.headers = headers or {}
        self.more = more

    def reply(self) -> Reply:
        """Return the document with its headers."""
        request_id = str(uuid7())
        headers = dict(self.headers)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        elif self.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            headers.setdefault("retry-after", RETRY_AFTER)
        elif self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            headers["connection"] = "close"  # the rest of the body is not worth reading
        document = {
            "type": f"urn:refold:problem:{self.name}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
            **self.more,
        }
        headers["x-request-id"] = request_id
        pairs = tuple((name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items())
        return Reply(self.status, msgspec.json.encode(document), MEDIA, pairs)


def problem_of(error: Exception) -> Problem:
    """Return the problem that an exception means; one nobody foresaw says nothing of its cause."""
    match error:
        case Problem():
            return error
        case Refused():
            return Problem(422, "refused", str(error))
        case Unavailable():
            return Problem(503, "unavailable", str(error))
        case HTTPException():
            names = {404: "not-found", 405: "method-not-allowed"}
            detail = {404: "no such path; /openapi.json lists them all", 405: "this path knows other methods"}
            status = error.status_code
            headers = {name.lower(): value for name, value in (error.headers or {}).items()}
            return Problem(
                status, names.get(status, "http"), detail.get(status, error.detail), headers=headers
            )
        case _:
            return Problem(500, "internal", "an error of ours; the log has it under this request_id")


def answer(error: Exception, key_id: str, where: str) -> Reply:
    """Return the reply to an exception and log what an operator should see; never the key, never the body."""
    problem = problem_of(error)
    reply = problem.reply()
    request_id = dict(reply.headers)[b"x-request-id"].decode()
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request %s of key %s to %s failed", request_id, key_id, where, exc_info=error)
    elif problem.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        log.warning("request %s to %s refused: %s", request_id, where, problem.detail)
    return reply


async def handler(request: HttpRequest, error: Exception) -> Response:
    """Answer what Starlette itself raises: an unknown path, a wrong method."""
    reply = answer(error, "-", request.url.path)
    request.app.state.services.metrics.requests_of("none", reply.status).inc()
    return Response(
        reply.body, reply.status, {k.decode(): v.decode("latin-1") for k, v in reply.headers}, MEDIA.decode()
    )
