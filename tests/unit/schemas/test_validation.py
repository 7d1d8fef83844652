import math
from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import InvalidRequest
from schemas.records import Message, Query, ReplyTo, Sampling
from schemas.topics import Topics
from schemas.validation import validate_query

ASKED = Query(prompt="Was kostet das?")
CONVERSATION = (Message("system", "Be brief."), Message("user", "Was kostet das?"))


@pytest.mark.parametrize(
    "query",
    [
        ASKED,
        Query(messages=CONVERSATION),
        replace(ASKED, priority=0),
        replace(ASKED, priority=9, timeout_ms=0.5, fallback="none", language="de"),
        replace(ASKED, language="pt-BR", adapter="base", session="s", id="q"),
        replace(ASKED, id="ü" * 512),
        replace(ASKED, sampling=Sampling(1, 0.0, 1.0, -1, ("\n",))),
        replace(ASKED, sampling=Sampling(temperature=2.0, top_p=1e-9)),
        replace(ASKED, reply_to=ReplyTo("lorelay.replies")),
        replace(ASKED, reply_to=ReplyTo("lorelay.replies.team-a", 3)),
    ],
)
def test_a_sound_query_passes(query: Query) -> None:
    validate_query(query)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompt": None}, "neither a prompt nor messages"),
        ({"messages": CONVERSATION}, "both a prompt and messages"),
        ({"prompt": " \n"}, "prompt is empty"),
        ({"prompt": None, "messages": (Message("user", " "),)}, "messages are empty"),
        ({"prompt": None, "messages": (Message("usr", "hi"),)}, r"messages\[0\].role is 'usr'"),
        ({"priority": 10}, "priority is 10, it must be between 0 and 9"),
        ({"priority": -1}, "priority is -1"),
        ({"timeout_ms": 0.0}, "timeout_ms is 0.0, it must be above 0"),
        ({"timeout_ms": math.inf}, "timeout_ms"),
        ({"timeout_ms": math.nan}, "timeout_ms"),
        ({"fallback": "maybe"}, "fallback is 'maybe', it must be one of previous, base, none"),
        ({"language": "Deutsch!"}, "language"),
        ({"id": ""}, "id is empty"),
        ({"id": "x" * 1025}, "id has more than 1,024 bytes"),
        ({"id": "ü" * 513}, "id has more than 1,024 bytes"),
        ({"adapter": ""}, "adapter is empty"),
        ({"sampling": Sampling(max_tokens=0)}, "sampling.max_tokens is 0"),
        ({"sampling": Sampling(temperature=2.1)}, "sampling.temperature is 2.1"),
        ({"sampling": Sampling(temperature=math.nan)}, "sampling.temperature"),
        ({"sampling": Sampling(top_p=0.0)}, "sampling.top_p is 0.0"),
        ({"sampling": Sampling(top_p=math.nan)}, "sampling.top_p"),
        ({"sampling": Sampling(stop=("a", ""))}, "sampling.stop"),
        ({"reply_to": ReplyTo("lorelay.responses")}, "it must be lorelay.replies or start with"),
        ({"reply_to": ReplyTo("lorelay.replies." + "x" * 40_000)}, "be a name that Kafka takes"),
        ({"reply_to": ReplyTo("lorelay.replies.a b")}, "be a name that Kafka takes"),
        ({"reply_to": ReplyTo("lorelay.repliesx")}, "reply_to.topic"),
        ({"reply_to": ReplyTo("lorelay.replies", -1)}, "reply_to.partition is -1"),
    ],
)
def test_a_query_that_nobody_can_answer_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        validate_query(replace(ASKED, **changes))
    assert caught.value.to_info().category == "invalid_request"
    assert not caught.value.dead_letter


def test_replies_lie_under_the_prefix_in_use() -> None:
    query = replace(ASKED, reply_to=ReplyTo("clara.replies.x"))
    validate_query(query, Topics("clara."))
    with pytest.raises(InvalidRequest):
        validate_query(query)
