"""What the kernel knows of a process: /proc/PID/stat (proc(5))."""

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _SESSION, _START_TICKS = 0, 3, 19  # positions behind the command, which may hold blanks


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """``start_ticks``: clock ticks between the machine's boot and the start of the process."""

    pid: int
    state: str
    session: int
    start_ticks: int

    @property
    def ended(self) -> bool:
        """Whether only its exit status is left."""
        return self.state in "ZX"


def stat(pid: int) -> ProcessStat | None:
    """The process ``pid``, or None where there is none."""
    try:
        line = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = line.rpartition(")")[2].split()
    return ProcessStat(pid, fields[_STATE], int(fields[_SESSION]), int(fields[_START_TICKS]))


def session_members(session: int) -> list[ProcessStat]:
    """The living processes of a session, its leader included."""
    stats = (stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return [found for found in stats if found and found.session == session and not found.ended]
