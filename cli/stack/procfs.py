"""What the kernel knows of a process: /proc/PID/stat (proc(5))."""

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _SESSION, _THREADS, _START_TICKS = (
    0,
    3,
    17,
    19,
)  # positions behind the command, which may hold blanks


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """``start_ticks``: clock ticks between the machine's boot and the start of the process."""

    pid: int
    state: str
    session: int
    threads: int
    start_ticks: int

    @property
    def ended(self) -> bool:
        """Whether it does nothing any more."""
        return self.state in "ZX"

    @property
    def gone(self) -> bool:
        """Whether only its exit status is left: its last thread closes its files and ports."""
        return self.ended and self.threads <= 1


def stat(pid: int) -> ProcessStat | None:
    """The process ``pid``, or None where there is none."""
    try:
        line = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = line.rpartition(")")[2].split()
    numbers = (int(fields[position]) for position in (_SESSION, _THREADS, _START_TICKS))
    return ProcessStat(pid, fields[_STATE], *numbers)


def session_members(session: int) -> list[ProcessStat]:
    """The processes of a session that are not gone, its leader included."""
    stats = (stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return [found for found in stats if found and found.session == session and not found.gone]
