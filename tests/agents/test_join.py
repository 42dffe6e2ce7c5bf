"""From slates and events to what is learned of actions, through the agents."""

import pytest

from agents.fake import Message, Rows
from agents.join import JoinAgent
from agents.learner import LearnerAgent
from agents.table import Kept, Table
from agents.users import UserAgent
from models.actions import DEFAULTS
from models.features import NAMES
from models.join import Shown
from models.learned import COMMON
from models.responses import LEARNED, Responses
from models.users import User
from streams import events, examples, slates
from streams.errors import Refused
from streams.events import Event
from streams.examples import Choice, Seen
from streams.partition import partition_of
from streams.settings import Settings
from streams.slates import Shown as Place
from streams.slates import Slate

SETTINGS = Settings(partitions=2, shards=1, dimensions=8)
AT = 1_700_000_000_000
NUMBER = partition_of("u", 2)


class Users:
    """A user agent over rows in memory."""

    def __init__(self):
        self.shown = Table("shown", Rows(), Shown, Shown.from_row)
        self.join = JoinAgent(SETTINGS, self.shown, DEFAULTS)
        users = Table("users", Rows(), User, User.from_row)
        self.agent = UserAgent(SETTINGS, users, DEFAULTS, self.join)
        self.offsets = {"events": 0, "slates": 0}

    def _message(self, topic, value, user="u"):
        offset, self.offsets[topic] = self.offsets[topic], self.offsets[topic] + 1
        return Message(topic, NUMBER, offset, user.encode(), value)

    def event(self, kind, item, request="r", at=AT + 1_000):
        one = Event(
            event_id=f"{kind}-{item}-{at}", type=kind, at=at, user_id="u", item_id=item, request_id=request
        )
        self.agent.fold_events(self._message("events", events.encode([one])))

    def slate(self, request="r", user="u"):
        places = tuple(Place(f"i{n}", n, 0.5, 1.0, "ann", tuple(float(n) for _ in NAMES)) for n in range(6))
        one = Slate(
            request_id=request, user_id=user, at=AT, surface="home", rung="full", features=NAMES, items=places
        )
        self.agent.fold_slates(self._message("slates", slates.encode(one), user))

    def said(self):
        """What waits for the learner, as the records of `examples`."""
        return [
            record
            for topic, _, records in self.agent.take()
            if topic == SETTINGS.topic("examples")
            for _, record in records
        ]


def learned(records):
    table = Table("learned", Rows(), Kept, Kept)
    agent = LearnerAgent(SETTINGS, table)
    for offset, record in enumerate(records):
        agent.fold_examples(Message("examples", 0, offset, None, record))
    shard = table.partition(0).dirty[COMMON]
    shard.row()
    return Responses.from_row(shard.learned.common.actions)


@pytest.mark.parametrize("slate_first", [True, False])
def test_a_slate_and_its_click_teach_what_was_seen_and_chosen(slate_first):
    users = Users()
    steps = [users.slate, lambda: users.event("click", "i2")]
    for step in steps if slate_first else reversed(steps):
        step()
    records = users.said()
    kinds = [type(each) for record in records for each in examples.decode(record).said]
    assert sorted(kind.__name__ for kind in kinds) == ["Choice", "Seen"]
    responses = learned(records)
    assert responses.tally[LEARNED] == 4
    assert (responses.actions["click"].shown, responses.actions["click"].chosen) == (3, 1)
    assert (responses.actions["purchase"].shown, responses.actions["purchase"].chosen) == (3, 0)


def test_an_organic_choice_is_learned_from_and_leaves_no_row_behind():
    users = Users()
    users.event("click", "i9", request=None)
    ((choice,),) = [examples.decode(record).said for record in users.said()]
    assert isinstance(choice, Choice)
    assert not users.shown.partition(NUMBER).dirty
    assert users.shown.partition(NUMBER).find("u") is None


def test_what_was_folded_says_nothing_again():
    users = Users()
    users.slate()
    users.event("click", "i2")
    assert users.said()
    users.offsets = {"events": 0, "slates": 0}
    users.slate()
    users.event("click", "i2")
    assert users.said() == []


def test_an_agent_that_never_speaks_folds_the_same_row_in_silence():
    users, silent = Users(), Users()
    silent.agent._speaks = False
    for each in (users, silent):
        each.slate()
        each.event("click", "i2")
    assert silent.said() == []
    rows = [each.shown.partition(NUMBER).freeze() for each in (users, silent)]
    assert rows[0] == rows[1] != {}


def test_nobody_is_known_to_have_been_shown_an_anonymous_slate():
    users = Users()
    users.slate(user="")
    assert not users.shown.partition(NUMBER).dirty


def test_a_slate_in_a_wrong_partition_or_that_is_none_is_refused():
    users = Users()
    stranger = next(f"v{n}" for n in range(9) if partition_of(f"v{n}", 2) != NUMBER)
    with pytest.raises(Refused, match="does not belong"):
        users.slate(user=stranger)
    with pytest.raises(Refused, match="not a slate"):
        users.agent.fold_slates(Message("slates", NUMBER, 9, b"u", b"\xc1"))
    assert not users.shown.partition(NUMBER).dirty


def test_the_topic_of_examples_names_no_user():
    users = Users()
    users.slate()
    users.event("click", "i2")
    (record,) = [
        record
        for record in users.said()
        if any(isinstance(each, Seen) for each in examples.decode(record).said)
    ]
    (seen,) = [each for each in examples.decode(record).said if isinstance(each, Seen)]
    assert seen.request != b"r"
    assert len(seen.request) == 8
