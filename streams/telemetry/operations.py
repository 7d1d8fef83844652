"""What OpenTelemetry's conventions for generative AI call a question to a model."""

from typing import Final, Literal

from schemas.records import Query

PROVIDER: Final = "lorelay"
SELECTION: Final = "lorelay"
"""The model that is asked where the choice is left to selection."""

OperationName = Literal["chat", "text_completion"]


def operation_of(query: Query) -> OperationName:
    """The operation that it asks for."""
    return "chat" if query.messages else "text_completion"
