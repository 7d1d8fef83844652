"""What becomes of each error, as a table: made from the types, so it can't say otherwise.

python -m schemas.policy     prints the table that docs/errors.md holds
"""

from collections.abc import Iterator

from schemas.errors import RequestError

_HEAD = "| category | code | when | tried again | dead letter |\n|---|---|---|---|---|"


def policy_table() -> str:
    """A row of Markdown for each error that can end a query."""
    rows = [_row(kind) for kind in _kinds(RequestError) if "code" in vars(kind)]
    return "\n".join([_HEAD, *rows]) + "\n"


def _kinds(root: type[RequestError]) -> Iterator[type[RequestError]]:
    for kind in root.__subclasses__():
        # The engines have some of their own, which never leave them.
        if kind.__module__ == RequestError.__module__:
            yield kind
            yield from _kinds(kind)


def _row(kind: type[RequestError]) -> str:
    when = (kind.__doc__ or "").strip().split("\n\n")[0].split(".")[0].split(";")[0]
    cells = (
        kind.category,
        f"`{kind.code}`",
        " ".join(when.split()),
        "yes" if kind.retryable else "no",
        "yes" if kind.dead_letter else "no",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(policy_table(), end="")
