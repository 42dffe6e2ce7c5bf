"""Query strings: checked by the msgspec type that also documents them, and remembered, since they repeat."""

from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_args, get_origin
from urllib.parse import unquote_to_bytes

import msgspec

from streams.errors import Refused

MAX_QUERY = 8192  # bytes
EXPLODED = ("ctx", "arm")  # ctx.device=mobile becomes ctx["device"]
Q = TypeVar("Q", bound=msgspec.Struct)


def unquote(text: bytes) -> str:
    """Decode a part of a URL; raises Refused when it is not UTF-8."""
    if b"%" in text:
        text = unquote_to_bytes(text)
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise Refused(f"{text[:40]!r} in the URL is not UTF-8") from None


@lru_cache(maxsize=8192)
def parse(kind: type[Q], query: bytes) -> Q:
    """Return the parameters of a query string; raises Refused for an unknown, repeated or impossible one."""
    if len(query) > MAX_QUERY:
        raise Refused(f"the query has {len(query)} bytes, at most {MAX_QUERY} are read")
    fields = _lists(kind)
    values: dict[str, Any] = {}
    for pair in query.replace(b"+", b" ").split(b"&"):
        if not pair:
            continue
        raw, _, text = pair.partition(b"=")
        name, value = unquote(raw), unquote(text)
        group, dot, rest = name.partition(".")
        if dot and group in EXPLODED and group in fields:
            into: dict[str, Any] = values.setdefault(group, {})
            name = rest
        elif name in fields and name not in EXPLODED:
            into = values
        else:
            known = ", ".join(f"{field}.NAME" if field in EXPLODED else field for field in fields)
            raise Refused(f"unknown parameter {name[:64]!r}; known are: {known or 'none'}")
        if into is values and fields[name]:
            into.setdefault(name, []).append(value)
        elif name in into:
            raise Refused(f"parameter {name[:64]!r} is given twice")
        else:
            into[name] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(f"query: {error}") from None


@lru_cache(maxsize=64)
def _lists(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Return the parameters of a type, and whether each may be repeated."""
    return {field.encode_name: _is_list(field.type) for field in msgspec.structs.fields(kind)}


def _is_list(kind: Any) -> bool:
    return get_origin(get_args(kind)[0] if get_origin(kind) is Annotated else kind) is tuple
