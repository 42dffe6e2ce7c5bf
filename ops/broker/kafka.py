"""A real Apache Kafka without Docker, one node in KRaft mode: jars from Maven Central, run by Java.

`up` leaves a broker running in the background, for `down` to stop; `running` keeps one for a block.
A folder holds all of it: `data` (the log, which outlives the broker), `server.properties`, `kafka.log` and
`kafka.pid`. The broker itself holds a lock on the last, so a stale pid is never taken for a broker.
"""

import base64
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.broker.topics import answers
from ops.processes import Process, Processes, free_port, is_free
from streams.errors import Unavailable

VERSION = "4.3.1"
FOLDER = Path(".refold/kafka")
READY = 180  # seconds until it answers at the latest; ten are usual, a minute on a busy machine
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
log.cleaner.dedupe.buffer.size=33554432
"""


@dataclass(frozen=True)
class Broker:
    """A broker that runs in the background."""

    pid: int
    bootstrap: str


def up(folder: Path = FOLDER, port: int = 9092, heap: str = "768m") -> Broker:
    """Start a broker that outlives this command, or return the one that runs; raises Unavailable."""
    folder = folder.absolute()
    if (broker := status(folder)) is not None:
        if broker.bootstrap != f"127.0.0.1:{port}":
            raise Unavailable(
                f"{folder} has a broker at {broker.bootstrap}, not at port {port}: "
                "run `refold kafka down` first"
            )
        return broker
    command = _prepare(folder, port, heap)
    with (folder / "kafka.pid").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another `refold kafka up` is starting in {folder}: wait for it") from None
        process = Process("kafka", command, folder / "kafka.log", outlive=True, keep=[lock.fileno()])
        broker = Broker(process.pid, f"127.0.0.1:{port}")
        try:
            lock.truncate(0)
            lock.write(f"{broker.pid} {broker.bootstrap}\n")
            lock.flush()
            process.wait_until(lambda: answers(broker.bootstrap), seconds=READY)
        except BaseException:
            process.stop()
            raise
        process.detach()
    return broker


def status(folder: Path = FOLDER) -> Broker | None:
    """Return the broker that runs on the folder in the background, if one does."""
    try:
        with (folder / "kafka.pid").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, bootstrap = lock.read().strip().partition(" ")
                return Broker(int(pid), bootstrap) if pid else None
    except FileNotFoundError:
        pass
    return None


def down(folder: Path = FOLDER, grace: float = 30) -> bool:
    """Stop the broker in the background, killed after `grace` seconds; tell whether there was one."""
    if (broker := status(folder)) is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        if status(folder) is None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(broker.pid, number)
        deadline = time.monotonic() + grace
        while status(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
    with contextlib.suppress(
        ChildProcessError
    ):  # it is our own child only if `up` was called in this process
        os.waitpid(broker.pid, 0)
    return True


@contextlib.contextmanager
def running(folder: Path, port: int = 0, heap: str = "768m") -> Iterator[str]:
    """Run a broker within the block and yield its bootstrap address; port 0 takes a free one."""
    port = port or free_port()
    with Processes(folder.absolute(), grace=30) as processes:
        start(processes, folder, port, heap)
        yield f"127.0.0.1:{port}"


def start(processes: Processes, folder: Path, port: int, heap: str = "768m") -> Process:
    """Start a broker among `processes` on what the folder holds, if anything; raises Unavailable."""
    command = _prepare(folder.absolute(), port, heap)
    return processes.start("kafka", command, ready=lambda: answers(f"127.0.0.1:{port}"), seconds=READY)


def jars() -> Path:
    """Return the folder of Kafka's jars; Maven fetches them, checksums verified, if they are not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refold"
    folder = cache / f"kafka-{VERSION}"
    if folder.is_dir():
        return folder
    if (mvn := shutil.which("mvn")) is None:
        raise Unavailable("'mvn' is not on the PATH, and Kafka's jars are not cached yet: install Maven")
    cache.mkdir(parents=True, exist_ok=True)
    # Moved into place only when complete, so that an interrupted fetch leaves nothing half done.
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        pom = Path(__file__).with_name("kafka.pom.xml")
        fetch = [mvn, "-B", "-q", "--strict-checksums", "-f", str(pom), f"-Dkafka.version={VERSION}"]
        fetch += [
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={scratch}/jars",
        ]
        _run(fetch, f"Maven cannot fetch Kafka {VERSION}")
        try:
            Path(scratch, "jars").rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same jars
                raise
    return folder


def _prepare(folder: Path, port: int, heap: str) -> list[str]:
    """Write the broker's files, format its log if it is new, and return the command that runs it."""
    if not is_free(port):
        raise Unavailable(f"port {port} of 127.0.0.1 is taken: end what listens there, or take another port")
    java = [_java(), "-cp", f"{jars()}/*"]
    data, properties = folder / "data", folder / "server.properties"
    folder.mkdir(parents=True, exist_ok=True)
    properties.write_text(PROPERTIES.format(port=port, controller=free_port(), data=data))
    if not (data / "meta.properties").exists():
        # A leading dash would be read as an option.
        cluster = "R" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(properties)]
        _run([*java, *tool], f"Kafka cannot format {data}")
    logger = ["defaultLogLevel=warn", "showDateTime=true", "dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX"]
    options = [f"-Xmx{heap}", *(f"-Dorg.slf4j.simpleLogger.{option}" for option in logger)]
    return [*java, *options, "kafka.Kafka", str(properties)]


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java" if home else "java")
    advice = "install a Java runtime of 17 or later, or let JAVA_HOME name one"
    if java is None:
        raise Unavailable(
            f"Kafka {VERSION} needs Java, and JAVA_HOME={home!r} and the PATH hold none: {advice}"
        )
    found = re.search(r'version "(\d+)', _run([java, "-version"], f"{java!r} does not run"))
    if found is None or int(found[1]) < 17:
        raise Unavailable(f"{java!r} is Java {found[1] if found else 'unknown'}: {advice}")
    return java


def _run(command: list[str], complaint: str) -> str:
    done = subprocess.run(  # noqa: S603 - the command is ours
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"{complaint}, code {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout
