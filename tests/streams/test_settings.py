"""Settings come from the environment; a value that cannot be meant stops the start and names its variable."""

import pytest

from streams.errors import SettingsError
from streams.settings import Settings
from streams.topology import TABLES, TOPICS, partitions_of, topics


def test_nothing_needs_to_be_set():
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"PATH": "/bin", "KAFKA": "x"}) == Settings()


def test_every_kind_of_value_is_read():
    settings = Settings.from_env(
        {
            "REFOLD_KAFKA": "a:1,b:2",
            "REFOLD_KAFKA_IDEMPOTENCE": "off",
            "REFOLD_EPOCH": "3",
            "REFOLD_DATA": "/x",
        }
    )
    assert settings.client()["bootstrap_servers"] == ["a:1", "b:2"]
    assert (settings.kafka_idempotence, settings.epoch, str(settings.data)) == (False, 3, "/x")


def test_an_argument_wins_over_the_environment_unless_it_is_none():
    env = {"REFOLD_PARTITIONS": "4"}
    assert Settings.from_env(env, partitions=2).partitions == 2
    assert Settings.from_env(env, partitions=None).partitions == 4


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("REFOLD_PARTITION", "4", "unknown setting REFOLD_PARTITION"),
        ("REFOLD_PARTITIONS", "four", "REFOLD_PARTITIONS='four' is not a int"),
        ("REFOLD_PARTITIONS", "0", r"REFOLD_PARTITIONS=0 is outside 1..1024"),
        ("REFOLD_SHARDS", "9", "REFOLD_SHARDS=9 is more than REFOLD_PARTITIONS=8"),
        ("REFOLD_EPOCH", "-1", r"REFOLD_EPOCH=-1 is outside 0..65535"),
        ("REFOLD_PORT", "65536", "REFOLD_PORT=65536"),
        ("REFOLD_DIMENSIONS", "4", "REFOLD_DIMENSIONS=4"),
        ("REFOLD_FLUSH_MS", "0", "REFOLD_FLUSH_MS=0"),
        ("REFOLD_KAFKA_IDEMPOTENCE", "yes", "REFOLD_KAFKA_IDEMPOTENCE='yes' is not on or off"),
        ("REFOLD_KAFKA_SECURITY", "TLS", "REFOLD_KAFKA_SECURITY='TLS'"),
        ("REFOLD_KAFKA_MECHANISM", "GSSAPI", "REFOLD_KAFKA_MECHANISM='GSSAPI'"),
    ],
)
def test_a_value_that_cannot_be_meant_names_its_variable(variable, value, reason):
    with pytest.raises(SettingsError, match=reason):
        Settings.from_env({variable: value})


def test_the_password_is_never_shown():
    settings = Settings.from_env({"REFOLD_KAFKA_PASSWORD": "hunter2"})
    assert "hunter2" not in f"{settings!r} {settings}"


def test_a_password_is_handed_to_clients_only_where_the_protocol_asks_for_one():
    plain = Settings(kafka_user="u", kafka_password="p")
    assert not any("sasl" in key for key in plain.client())
    sasl = Settings(kafka_user="u", kafka_password="p", kafka_security="SASL_SSL").client()
    assert (sasl["sasl_plain_username"], sasl["sasl_plain_password"]) == ("u", "p")
    assert sasl["ssl_context"].check_hostname
    assert "ssl_context" not in Settings(kafka_security="SASL_PLAINTEXT").client()


def test_a_namespace_stands_before_every_topic_group_and_changelog():
    settings = Settings(namespace="blue")
    assert all(topic.name.startswith("blue.") for topic in topics(settings))
    assert len({topic.name for topic in topics(settings)}) == len(TOPICS) + len(TABLES)
    assert settings.group("users") == "blue.refold-users"
    assert settings.changelog("items") == "blue.refold-items-changelog"


def test_what_the_learner_reads_and_keeps_is_parted_by_its_shards():
    settings = Settings(namespace="blue", partitions=6, shards=2)
    sharded = {"examples", "learned", "learner"}
    for name in ("events", "items", "users", "popular", *sharded):
        assert partitions_of(settings, name) == (2 if name in sharded else 6)
    assert {topic.name: partitions_of(settings, topic) for topic in topics(settings)} == {
        topic.name: 2 if topic.name in ("blue.examples", "blue.refold-learned-changelog") else 6
        for topic in topics(settings)
    }
