"""The names of a dead letter's headers.

Kafka Connect's are those of KIP-298, so that its tools read them, too:
https://cwiki.apache.org/confluence/display/KAFKA/KIP-298%3A+Error+Handling+in+Connect
"""

from typing import Final

CONNECT: Final = "__connect.errors."
#: The first of those that say why: what stands before its last occurrence is the original's.
TOPIC: Final = f"{CONNECT}topic"
PARTITION: Final = f"{CONNECT}partition"
OFFSET: Final = f"{CONNECT}offset"
CONNECTOR: Final = f"{CONNECT}connector.name"
STAGE: Final = f"{CONNECT}stage"
CLASS: Final = f"{CONNECT}exception.class.name"
MESSAGE: Final = f"{CONNECT}exception.message"

CATEGORY: Final = "lorelay.error.category"
CODE: Final = "lorelay.error.code"
QUERY_ID: Final = "lorelay.query.id"
ADAPTER: Final = "lorelay.adapter"
#: The original record's key, which gives way to its origin as the dead letter's key.
ORIGINAL_KEY: Final = "lorelay.original.key"
#: When the dead letter was last redriven; how often stands beside it as REDRIVEN_COUNT.
REDRIVEN_AT: Final = "lorelay.redriven.at"
