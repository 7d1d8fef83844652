"""Runs a piece of the path alone, in a process of its own."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from benchmarks.stack import clean_environment, dying_with_us
from schemas.errors import LorelayError

_ROOT = Path(__file__).parents[1]
_SECONDS = 600.0
_LOG_LINES = 40
_END_SECONDS = 15.0


class PieceFailed(LorelayError):
    """A piece ended without a result; the message ends with what it wrote."""

    code = "benchmark_piece_failed"


def run_piece(
    name: str,
    arguments: dict[str, Any],
    *,
    python: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Any:
    """The result of ``benchmarks.pieces.<name>``, once nothing is left of its process.

    By default it runs in this environment.
    """
    command = [
        *dying_with_us(),
        str(python or sys.executable),
        "-P",
        "-m",
        f"benchmarks.pieces.{name}",
    ]
    process = subprocess.Popen(
        [*command, json.dumps(arguments)],
        cwd=_ROOT,
        env=clean_environment() | {"PYTHONUNBUFFERED": "1"} | dict(variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ending(process):
        try:
            written, complaints = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise PieceFailed(f"{name} did not end within {_SECONDS:.0f} s.") from error
    if process.returncode:
        last = complaints.strip().splitlines()[-_LOG_LINES:]
        raise PieceFailed("\n".join([f"{name} ended with {process.returncode}:", *last]))
    return json.loads(written.strip().splitlines()[-1])


@contextlib.contextmanager
def ending(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Ends the process with the block, by force where it must be."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def server(
    command: list[str], environment: dict[str, str], log: IO[bytes]
) -> "Iterator[subprocess.Popen[bytes]]":
    """A server process that ends with the block."""
    process = subprocess.Popen(
        [*dying_with_us(), *command],
        cwd=_ROOT,
        env=clean_environment() | environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    with ending(process):
        yield process
