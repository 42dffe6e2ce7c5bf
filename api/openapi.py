"""/openapi.json: OpenAPI 3.1, built from the operations and the types that check what they take."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from api.operations import Operation
from api.problems import MEDIA, ProblemDetails
from api.query import EXPLODED

REF = "#/components/schemas/{name}"
PACKED = "application/msgpack"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the description of the operations."""
    types = _types(operations)
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    schema_of = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    for operation in operations:  # queries are spelled out as parameters
        components.pop(operation.query.__name__, None)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Refold",
            "version": _version(),
            "description": "Stream events in; ask for ranked lists that already reflect the last of them.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    responses = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {operation.media: {"schema": schema_of[_key(kind)]}},
        }
        for status, kind in operation.answers.items()
    }
    secured = operation.scope != "open"
    for status in (*((401,) if secured else ()), 403, *operation.problems, 500):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA.decode(): {"schema": schema_of[_key(ProblemDetails)]}},
        }
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.path.split("/")[2 if operation.path.startswith("/v1/") else 1] or "pages"],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": responses,
        "security": [{"bearer": []}, {"key": []}] if secured else [],
        "x-scope": operation.scope,
    }
    if operation.bodies:
        known = [schema_of[_key(kind)] for kind in operation.bodies]
        schema = known[0] if len(known) == 1 else {"oneOf": known}
        said["requestBody"] = {
            "required": True,
            "content": {media: {"schema": schema} for media in ("application/json", PACKED)},
        }
    return said


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    schema = {"type": "string", "minLength": 1, "maxLength": 256}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]


def _query_parameters(kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    properties = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    found = []
    for name, schema in properties.items():
        said = {
            "name": name,
            "in": "query",
            "required": False,
            "schema": schema,
            "style": "form",
            "explode": True,
        }
        if "description" in schema:
            said["description"] = schema["description"]
        if name in EXPLODED:  # each key of such an object is a parameter of its own, ctx.country=de
            said["schema"] = {
                "type": "object",
                "patternProperties": {rf"^{name}\.": {"type": "string", "maxLength": 1024}},
            }
        found.append(said)
    return found


def _types(operations: Sequence[Operation]) -> list[Any]:
    found: dict[str, Any] = {_key(ProblemDetails): ProblemDetails}
    for operation in operations:
        for kind in (*operation.bodies, *operation.answers.values()):
            found[_key(kind)] = kind
    return list(found.values())


def _key(kind: Any) -> str:
    return repr(kind)


def _version() -> str:
    try:
        return version("refold")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0"
