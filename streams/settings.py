"""Settings: one frozen value, read once from the environment, handed down as an argument."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from streams.errors import SettingsError

SWITCH = {"on": True, "off": False}
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def _help(text: str, default: Any) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """Everything that differs between two installations; `REFOLD_<NAME>` in the environment sets a field.

    Raises SettingsError, naming the variable, when a value cannot be meant.

    >>> Settings.from_env({"REFOLD_PARTITIONS": "4"}).partitions
    4
    """

    kafka: str = _help("bootstrap servers, host:port separated by commas", "127.0.0.1:9092")
    kafka_security: str = _help("PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", "PLAINTEXT")
    kafka_mechanism: str = _help("SASL mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", "SCRAM-SHA-512")
    kafka_user: str = _help("SASL user name", "")
    kafka_password: str = field(default="", repr=False, metadata={"help": "SASL password"})
    kafka_ca: str = _help("file of the certificate authority that signed the brokers' certificates", "")
    kafka_idempotence: bool = _help("on, or off for a broker without producer ids (the embedded one)", True)
    namespace: str = _help("prefix of every topic and group, so that several Refolds share a cluster", "")
    partitions: int = _help("partitions of topics and tables; changing it means a rebuild", 8)
    shards: int = _help("parts of the learner, each a table partition; changing it means a rebuild", 1)
    replication: int = _help("replication factor of every topic", 1)
    epoch: int = _help("raise by one when a source topic was recreated: offsets start again", 0)
    generation: int = _help("generation of the state; set by what runs several, the live one is recorded", 0)
    touches: int = _help(
        "generation whose touches and examples are folded; set together with the generation", 0
    )
    data: Path = _help("folder for RocksDB, snapshots and caches", Path(".refold"))  # noqa: RUF009 - immutable
    artifacts: str = _help(
        "folder or fsspec URL of trained models; empty means `artifacts` in the data folder", ""
    )
    host: str = _help("address the API listens on", "127.0.0.1")
    port: int = _help("port the API listens on", 8088)
    api_keys: str = _help("accepted API keys, id:scope:sha256 separated by commas", "")
    config: str = _help("TOML file of actions and surfaces; empty means the built-in one", "")
    worker: str = _help("name of this worker, stable over restarts; names its data folder", "worker-0")
    api_name: str = _help("name of this API process, stable over restarts; names its data folder", "api-0")
    api_partitions: str = _help("partitions this API process follows, for example 0-3,7; empty means all", "")
    flush_ms: int = _help(
        "pause in ms between publishing folded user rows; longer while a backlog is folded", 25
    )
    dimensions: int = _help("length of the learned item vectors", 64)

    def __post_init__(self) -> None:
        if self.kafka_security not in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
            raise SettingsError(f"REFOLD_KAFKA_SECURITY={self.kafka_security!r} is not a security protocol")
        if self.kafka_mechanism not in MECHANISMS:
            raise SettingsError(f"REFOLD_KAFKA_MECHANISM={self.kafka_mechanism!r} is none of {MECHANISMS}")
        for name, low, high in (
            ("partitions", 1, 1024),
            ("shards", 1, 64),
            ("replication", 1, 16),
            ("epoch", 0, 65535),
            ("generation", 0, 9999),
            ("touches", 0, 9999),
            ("port", 0, 65535),
            ("flush_ms", 1, 10_000),
            ("dimensions", 8, 1024),
        ):
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"REFOLD_{name.upper()}={getattr(self, name)} is outside {low}..{high}")
        if self.shards > self.partitions:
            raise SettingsError(
                f"REFOLD_SHARDS={self.shards} is more than REFOLD_PARTITIONS={self.partitions}: nothing would be "
                "said to some of them"
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **overrides: Any) -> "Settings":
        """Read the environment; `overrides` (not None) win over it. Raises SettingsError."""
        env = os.environ if env is None else env
        known = {f"REFOLD_{f.name.upper()}": f for f in fields(cls)}
        unknown = [k for k in env if k.startswith("REFOLD_") and k not in known]
        if unknown:
            raise SettingsError(f"unknown setting {min(unknown)}; `refold settings` lists the known ones")
        values: dict[str, Any] = {}
        for variable, f in known.items():
            if variable not in env:
                continue
            kind: Any = type(f.default)
            try:
                values[f.name] = SWITCH[env[variable]] if kind is bool else kind(env[variable])
            except (ValueError, KeyError):
                meant = "on or off" if kind is bool else f"a {kind.__name__}"
                raise SettingsError(f"{variable}={env[variable]!r} is not {meant}") from None
        values.update({k: v for k, v in overrides.items() if v is not None})
        return cls(**values)

    def topic(self, name: str) -> str:
        """Return the broker's name of a topic of the topology; a generation may have touches of its own, and examples.

        >>> Settings(namespace="shop", generation=3, touches=2).topic("touches")
        'shop.touches-g2'
        """
        if name in ("touches", "examples") and self.touches:
            name = f"{name}-g{self.touches}"
        return f"{self.namespace}.{name}" if self.namespace else name

    @property
    def app(self) -> str:
        """The name before every changelog and consumer group, one for each generation of the state.

        >>> Settings(generation=2).changelog("users")
        'refold-g2-users-changelog'
        """
        return self.topic(f"refold-g{self.generation}" if self.generation else "refold")

    def group(self, stage: str) -> str:
        """Return the consumer group of a stage of the workers (`streams.topology`): its Faust app id."""
        return f"{self.app}-{stage}"

    def changelog(self, table: str) -> str:
        """Return the broker's name of a table's changelog."""
        return f"{self.app}-{table}-changelog"

    def environment(self) -> dict[str, str]:
        """Return the variables that give another process these settings; the secret password among them.

        >>> Settings(partitions=4, kafka_idempotence=False).environment()
        {'REFOLD_KAFKA_IDEMPOTENCE': 'off', 'REFOLD_PARTITIONS': '4'}
        """
        switched = {switch: name for name, switch in SWITCH.items()}
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {
            f"REFOLD_{name.upper()}": switched[value] if isinstance(value, bool) else str(value)
            for name, value in changed.items()
        }

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, or None where the protocol has none."""
        if "SSL" not in self.kafka_security.split("_")[-1]:
            return None
        return ssl.create_default_context(cafile=self.kafka_ca or None)

    def client(self) -> dict[str, Any]:
        """Return connection arguments as kafka-python and aiokafka both take them."""
        common: dict[str, Any] = {
            "bootstrap_servers": self.kafka.split(","),
            "security_protocol": self.kafka_security,
        }
        if (context := self.ssl_context()) is not None:
            common["ssl_context"] = context
        if self.kafka_security.startswith("SASL"):
            common |= {
                "sasl_mechanism": self.kafka_mechanism,
                "sasl_plain_username": self.kafka_user,
                "sasl_plain_password": self.kafka_password,
            }
        return common
