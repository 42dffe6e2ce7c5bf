"""Whether anybody listens where the brokers should be, asked at once: clients would try for half a minute."""

import socket

from streams.errors import Unavailable
from streams.settings import Settings

SECONDS = 5.0  # for a connection


def require(settings: Settings) -> None:
    """Raise Unavailable unless one of the brokers listens."""
    if not any(listens(server) for server in settings.kafka.split(",")):
        raise Unavailable(f"no Kafka listens at {settings.kafka!r}: start one, or correct REFOLD_KAFKA")


def listens(server: str) -> bool:
    """Tell whether somebody takes connections at `host:port`."""
    host, _, port = server.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS).close()
    except (OSError, ValueError):
        return False
    return True
