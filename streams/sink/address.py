"""Which PostgreSQL database to write to, told without its password."""

from dataclasses import dataclass, field
from typing import Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from schemas.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """What libpq connects to; as a string, where that is, and no secret."""

    conninfo: str = field(repr=False)
    place: str

    def __str__(self) -> str:
        return self.place

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ConfigurationError, which doesn't quote ``text``: a password may be in it."""
        try:
            parts = conninfo_to_dict(text)
        except ProgrammingError:
            # Its message quotes what it can't read, and so does its traceback.
            raise ConfigurationError(
                "That is no address of a PostgreSQL database: write "
                "postgresql://USER@HOST:PORT/DATABASE, with %40 for an @ within a part, "
                "or key=value pairs as psql takes them."
            ) from None
        host = parts.get("host") or parts.get("hostaddr") or parts.get("service") or "the local one"
        port = f":{parts['port']}" if parts.get("port") else ""
        name = f"/{parts['dbname']}" if parts.get("dbname") else ""
        return cls(text, f"{host}{port}{name}")
