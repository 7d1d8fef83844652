"""Whether a request of a producer may still be on its way, though the producer has given it up.

Where a connection breaks, or a broker does not answer in time, aiokafka sends a request again. The
first one may arrive later all the same: held up in the network, and sent on by the operating system
after its connection was closed. The broker knows transactions by the producer's epoch alone, so a
late end of one transaction would commit half of the next, and a late offset commit would take the
place of a newer one (KIP-890 tells of both). Only a new epoch keeps them out.
"""

from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, NodeNotReadyError


class Doubt:
    """Watches the requests of one producer from its initialisation on.

    That itself may be late without harm: it ends what is open, and commits nothing.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        #: Whether a request was sent that no answer came to.
        self.is_cast = False
        self._send = producer.client.send
        producer.client.send = self._watched

    async def _watched(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await self._send(*arguments, **options)
        except NodeNotReadyError:
            # There was no connection to send it over.
            raise
        except KafkaError:
            self.is_cast = True
            raise
