"""Which partition of the replies topic a gateway reads. Pure.

Nothing is coordinated: a gateway needs no other to know its place, finds it again after a restart,
and a killed one leaves nothing behind. Several may share a partition, as they do where there are
more gateways than partitions: each drops what is not for it.
"""

import re
from zlib import crc32


def reply_partition(instance: str, partitions: int) -> int:
    """By the number at the end of the name, as numbered instances have it; else by a hash.

    So a stack's `gateway`, `gateway-2`, ... and a StatefulSet's `gateway-0`, `gateway-1`, ...
    each have their own while there are enough.
    """
    if numbered := re.search(r"\d{1,9}$", instance):
        return int(numbered[0]) % partitions
    if "-" not in instance:
        return 1 % partitions
    return crc32(instance.encode()) % partitions
