"""Pages for people, and the description of the API for programs; nothing is fetched from elsewhere."""

from importlib import resources
from typing import Any

import msgspec

from api.calls import Call
from api.openapi import document
from api.operations import Operation
from api.problems import Problem
from api.replies import JSON, Reply

_MEDIA = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
}
_SAFE = (
    (
        b"content-security-policy",
        b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),
)


def _files() -> dict[str, Reply]:
    folder = resources.files("api").joinpath("static")
    found = {}
    for file in folder.iterdir():
        media = _MEDIA.get(file.name.rpartition(".")[2])
        if media is not None:
            found[file.name] = Reply(200, file.read_bytes(), media, _SAFE)
    return found


def operations(others: list[Operation]) -> list[Operation]:
    """Return the operations of the pages; the description covers `others` and these."""
    files = _files()

    async def home(_: Call) -> Reply:
        return files["index.html"]

    async def docs(_: Call) -> Reply:
        return files["docs.html"]

    async def static(call: Call) -> Reply:
        reply = files.get(call.id("file"))
        if reply is None:
            raise Problem(404, "not-found", "no such file")
        return reply

    async def openapi(_: Call) -> Reply:
        return described

    pages = [
        Operation(
            method="GET",
            path="/",
            name="home",
            scope="open",
            handler=home,
            answers={200: str},
            media="text/html",
            summary="A page to click on: pick a user, see the list, click an item.",
        ),
        Operation(
            method="GET",
            path="/docs",
            name="docs",
            scope="open",
            handler=docs,
            answers={200: str},
            media="text/html",
            summary="A page that lists these operations and tries them.",
        ),
        Operation(
            method="GET",
            path="/static/{file}",
            name="static",
            scope="open",
            handler=static,
            answers={200: str},
            media="*/*",
            problems=(404,),
            summary="What the pages are made of.",
        ),
        Operation(
            method="GET",
            path="/openapi.json",
            name="openapi",
            scope="open",
            handler=openapi,
            answers={200: dict[str, Any]},
            summary="This description.",
        ),
    ]
    described = Reply(200, msgspec.json.encode(document([*others, *pages])), JSON)
    return pages
