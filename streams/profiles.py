"""Profiles: what a client says of a user; a tombstone erases the user."""

import msgspec

from streams.checks import Name, Scalar, check_finite
from streams.errors import Refused

VERSION = 1
MAX_ATTRIBUTES = 64


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A user's attributes; the record's key is the user's id."""

    v: int = VERSION
    attributes: dict[Name, Scalar] = {}


_decoder = msgspec.msgpack.Decoder(Profile)
_encoder = msgspec.msgpack.Encoder()


def check(profile: Profile) -> Profile:
    """Return the profile if it keeps the contract, else raise Refused."""
    if profile.v != VERSION:
        raise Refused(f"profile version {profile.v} is unknown; this Refold reads version {VERSION}")
    if len(profile.attributes) > MAX_ATTRIBUTES:
        raise Refused(f"{len(profile.attributes)} attributes; a profile carries at most {MAX_ATTRIBUTES}")
    check_finite("attributes", profile.attributes.values())
    return profile


def encode(profile: Profile) -> bytes:
    """Return the record of a profile."""
    return _encoder.encode(profile)


def decode(value: bytes) -> Profile:
    """Return the profile of a record; raises Refused with the reason."""
    try:
        return check(_decoder.decode(value))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"not a profile: {error}") from None
