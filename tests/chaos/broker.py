"""A broker of the test's own, which may be killed and comes back with what it had."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.stack import broker, ports
from cli.stack.folder import ProcessRecord, StackFolder
from cli.stack.processes import Processes
from cli.stack.readiness import broker_probe, wait_until_ready

_READY_SECONDS = 120.0


class KillableBroker:
    """One node, always at the same port."""

    def __init__(self, folder: Path) -> None:
        stack = StackFolder(folder)
        self._processes = Processes(stack)
        self._settings = broker.BrokerSettings(
            stack.kafka_data, ports.free_port(), ports.free_port()
        )
        self._record: ProcessRecord | None = None

    @property
    def address(self) -> str:
        return self._settings.address

    def start(self) -> None:
        """Returns when it answers."""
        record = broker.start(self._settings, self._processes, os.environ, short_lived=True)
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
        if self._record is not None:
            self._processes.stop({broker.NAME: self._record}, patience=15.0)


@contextmanager
def killable_broker(folder: Path) -> Iterator[KillableBroker]:
    """A started broker that ends with the block."""
    made = KillableBroker(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
