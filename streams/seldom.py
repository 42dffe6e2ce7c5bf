"""Seldom: a log filter for a Kafka client that goes on saying that its broker is away."""

import logging

PAUSE_SECONDS = 10.0


class Seldom(logging.Filter):
    """Let the Kafka client say the same only every ten seconds: a broker away is twenty lines a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is worth its line."""
        if not record.name.startswith("aiokafka"):
            return True
        kind = record.name, record.lineno
        if record.created - self._said.get(kind, 0.0) < PAUSE_SECONDS:
            return False
        self._said[kind] = record.created
        return True


def speak_seldom() -> None:
    """Filter what goes to the log of this process, once it has one."""
    for told in logging.getLogger().handlers:
        told.addFilter(Seldom())
