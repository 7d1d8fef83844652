"""`lorelay` that is killed at its Nth commit: python -m ...killed_redrive N before|after ARGUMENTS.

Killed before it, all records of the transaction are with the broker, but not committed; killed
after it, they are, and the command has had no time to say so.
"""

import os
import signal
import sys
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from cli.main import main

_commit = AIOKafkaProducer.commit_transaction


def run(fatal: int, when: str, arguments: Sequence[str]) -> int:
    commits = 0

    def die_if(moment: str) -> None:
        if commits == fatal and when == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    async def commit_transaction(producer: AIOKafkaProducer) -> None:
        nonlocal commits
        commits += 1
        die_if("before")
        await _commit(producer)
        die_if("after")

    AIOKafkaProducer.commit_transaction = commit_transaction
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
