"""`python -m cli.stack.broker_start`: makes once, at set-up, what every new broker starts with."""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cli.stack import ports
from cli.stack.broker import (
    CLASS_ARCHIVE,
    FORMATTED,
    JARS,
    BrokerSettings,
    find_java,
    prepare,
    running,
)
from schemas.errors import LorelayError

#: A broker that is killed leaves no archive.
_ARCHIVED_WITHIN_SECONDS = 120.0


def write_start(jars: Path = JARS) -> None:
    """Formats a data folder, starts and ends a broker; keeps folder and classes beside ``jars``.

    Raises ConfigurationError without Java or jars, and what ``running`` raises.
    """
    formatted, archive = jars.parent / FORMATTED, jars.parent / CLASS_ARCHIVE
    # Other jars may have made them.
    shutil.rmtree(formatted, ignore_errors=True)
    archive.unlink(missing_ok=True)
    with TemporaryDirectory(dir=jars.parent) as place:
        folder = Path(place)
        settings = BrokerSettings(
            folder / "kafka",
            ports.free_port(),
            ports.free_port(),
            jars,
            archive_to=folder / CLASS_ARCHIVE,
        )
        prepare(settings, find_java())
        # As plain files: whoever starts a broker may read them.
        shutil.copytree(settings.log_dir, folder / FORMATTED, copy_function=shutil.copyfile)
        (folder / FORMATTED).replace(formatted)
        with running(settings, folder, patience=_ARCHIVED_WITHIN_SECONDS):
            pass
        (folder / CLASS_ARCHIVE).replace(archive)


def main() -> int:
    """The exit status. A broker starts without all this, too, so that none is no failure."""
    try:
        write_start()
    except (LorelayError, OSError) as error:
        print(f"The broker will start more slowly: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
