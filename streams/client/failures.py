"""What ends a question at the client.

LorelayError
+- ConnectionLost       the cluster stopped answering
+- NoAnswer             nobody answered in time
+- AnsweredWithError    the response is there, and it is an error
+- StreamBroken         the answer is not the one whose beginning was streamed
"""

from schemas.errors import LorelayError
from schemas.records import Response


class ConnectionLost(LorelayError):
    """The cluster stopped answering while responses were awaited."""

    code = "connection_lost"


class NoAnswer(LorelayError):
    """Nobody answered in time."""

    code = "no_answer"


class AnsweredWithError(LorelayError):
    """The response is there, and it is an error; the message is the response's."""

    code = "answered_with_error"

    def __init__(self, response: Response) -> None:
        assert response.error is not None, "a response without an error is an answer"
        super().__init__(response.error.message)
        self.response = response


class StreamBroken(LorelayError):
    """The answer was begun anew and became another one; `response` has it whole."""

    code = "stream_broken"

    def __init__(self, response: Response) -> None:
        super().__init__("The answer was begun anew and became another one than was streamed.")
        self.response = response
