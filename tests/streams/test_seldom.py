"""A Kafka client that repeats itself is heard seldom, everybody else always."""

import logging

from streams.seldom import Seldom


def test_a_lost_broker_does_not_fill_the_log():
    seldom, said = Seldom(), []
    for n in range(1000):
        for name, line in (("aiokafka.conn", 1), ("aiokafka.conn", 2), ("refold.api", 3)):
            record = logging.LogRecord(name, logging.ERROR, "f.py", line, "away", (), None)
            record.created = 1000.0 + n * 0.05
            said.append((name, line) if seldom.filter(record) else None)
    assert (said.count(("aiokafka.conn", 1)), said.count(("aiokafka.conn", 2))) == (5, 5)
    assert said.count(("refold.api", 3)) == 1000
