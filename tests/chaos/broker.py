"""A broker of the test's own, which may be killed and comes back with what it had."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cli.stack import broker, ports
from cli.stack.folder import ProcessRecord, StackFolder
from cli.stack.processes import Processes
from cli.stack.readiness import broker_probe, wait_until_ready

_READY_SECONDS = 120.0


class KillableBroker:
    """One node, always at the same port; it sends clients to `advertised` where that is given."""

    def __init__(self, folder: Path, advertised: str | None = None) -> None:
        stack = StackFolder(folder)
        self._processes = Processes(stack)
        port, controller = ports.free_port(), ports.free_port()
        extra = _advertising(advertised, port, controller) if advertised else {}
        self._settings = broker.BrokerSettings(stack.kafka_data, port, controller, extra=extra)
        self._record: ProcessRecord | None = None

    @property
    def address(self) -> str:
        return self._settings.address

    def start(self) -> None:
        """Returns when it answers."""
        record = broker.start(
            self._settings, self._processes, os.environ, starts_fast=True, ends_with_us=True
        )
        self._record = record
        wait_until_ready(
            {broker.NAME: broker_probe(self.address)},
            lambda name: self._processes.find(name, record) is not None,
            timeout=_READY_SECONDS,
        )

    def kill_and_restart(self) -> None:
        """SIGKILL, and a new start on the same files."""
        pid = self._processes.find(broker.NAME, self._record)
        assert pid is not None and self._record is not None
        os.kill(pid, signal.SIGKILL)
        self._processes.stop({broker.NAME: self._record}, patience=10.0)
        self.start()

    def stop(self) -> None:
        """SIGTERM, where it runs."""
        if self._record is not None:
            self._processes.stop({broker.NAME: self._record}, patience=15.0)


@contextmanager
def killable_broker(folder: Path, advertised: str | None = None) -> Iterator[KillableBroker]:
    """A started broker that ends with the block."""
    made = KillableBroker(folder, advertised)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _advertising(address: str, port: int, controller: int) -> Mapping[str, str]:
    # What the broker has to tell itself takes no detour.
    inter = f"INTER://{ports.LOOPBACK}:{ports.free_port()}"
    return {
        "listeners": f"KAFKA://{ports.LOOPBACK}:{port},{inter},"
        f"CONTROLLER://{ports.LOOPBACK}:{controller}",
        "advertised.listeners": f"KAFKA://{address},{inter}",
        "listener.security.protocol.map": "KAFKA:PLAINTEXT,INTER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTER",
    }
