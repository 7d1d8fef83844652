"""`python -m cli.stack.class_archive`: archives the local broker's classes, once, at set-up."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cli.stack import ports
from cli.stack.broker import CLASS_ARCHIVE, JARS, BrokerSettings, running
from schemas.errors import LorelayError

#: A broker that is killed leaves no archive.
_ARCHIVED_WITHIN_SECONDS = 120.0


def write_class_archive(jars: Path = JARS) -> Path:
    """Starts and ends a broker, and keeps what it loaded beside ``jars``; the file's path.

    Raises ConfigurationError without Java or jars, and what ``running`` raises.
    """
    archive = jars.parent / CLASS_ARCHIVE
    with TemporaryDirectory(dir=jars.parent) as folder:
        written = Path(folder) / CLASS_ARCHIVE
        settings = BrokerSettings(
            Path(folder) / "kafka", ports.free_port(), ports.free_port(), jars, archive_to=written
        )
        with running(settings, Path(folder), patience=_ARCHIVED_WITHIN_SECONDS):
            pass
        written.replace(archive)
    return archive


def main() -> int:
    """The exit status. A broker starts without an archive, too, so that none is no failure."""
    try:
        write_class_archive()
    except (LorelayError, OSError) as error:
        print(f"The broker will start more slowly, without its classes: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
