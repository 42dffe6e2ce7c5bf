"""Batches: what a body with many things shares; the good ones pass, each of the others gets its reason."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from api.calls import BATCH, SINGLE, Call, decode
from api.metrics import Metrics
from api.problems import Problem
from streams.errors import Refused

T = TypeVar("T")
MOST = 500


class RefusedOne(msgspec.Struct):
    """Which of a batch was refused, and why."""

    index: int
    reason: str


class Sorted(NamedTuple):
    """The good ones of a batch, as `accept` made them, and the others."""

    good: list[Any]
    refused: list[RefusedOne]


async def sort_out(
    call: Call, kind: type[T], accept: Callable[[T], Any], what: str, metrics: Metrics, *, single: bool
) -> Sorted:
    """Read a body of 1..500 things, or one alone if `single`; raises Problem when none is good."""
    body = await call.body(BATCH)
    if single and _is_map(body, packed=call.packed):
        if len(body) > SINGLE:
            raise Problem(413, "too-large", f"the body is over {SINGLE} bytes; an array may have {BATCH}")
        parts = [msgspec.Raw(body)]
    else:
        parts = decode(body, list[msgspec.Raw], packed=call.packed)
        if not 1 <= len(parts) <= MOST:
            raise Refused(f"a batch holds 1..{MOST} {what}s, this one {len(parts)}")
    done = Sorted([], [])
    for index, part in enumerate(parts):
        try:
            done.good.append(accept(decode(part, kind, packed=call.packed)))
        except Refused as error:
            done.refused.append(RefusedOne(index, str(error)))
            metrics.refuse(what, str(error))
    if not done.good:
        first = done.refused[0].reason
        detail = (
            first if len(parts) == 1 else f"none of the {len(parts)} {what}s was accepted; the first: {first}"
        )
        raise Problem(422, "refused", detail, refused=done.refused)
    return done


def _is_map(body: bytes, *, packed: bool) -> bool:
    if packed:
        return bool(body) and (body[0] >> 4 == 0x8 or body[0] in (0xDE, 0xDF))
    return body.lstrip()[:1] == b"{"
