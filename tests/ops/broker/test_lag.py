"""Offsets are set when the broker takes them: what passes by itself is waited for, and all else is said."""

import pytest
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NoError,
    UnknownMemberIdError,
)

from ops.broker.lag import set_committed
from streams.errors import Unavailable


class Client:
    """A broker that answers so, one after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def alter_group_offsets(self, _group, at):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict.fromkeys(at, answer)


def test_a_coordinator_that_is_not_ready_is_asked_again():
    client = Client(CoordinatorNotAvailableError(), CoordinatorLoadInProgressError, NoError)
    set_committed(client, "group", {("events", 0): 5})
    assert client.answers == []


def test_nothing_is_asked_for_nothing():
    set_committed(Client(), "group", {})


def test_what_is_refused_is_said():
    with pytest.raises(Unavailable, match=r"does not take the offset of .*events.*: UnknownMemberIdError"):
        set_committed(Client(UnknownMemberIdError), "group", {("events", 0): 5})
