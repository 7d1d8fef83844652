"""Where a gateway's replies come to."""

from streams.gateway.place import reply_partition


def test_as_many_numbered_gateways_as_partitions_have_one_each() -> None:
    stack = ("gateway", *(f"gateway-{number}" for number in range(2, 9)))
    assert sorted(reply_partition(name, 8) for name in stack) == list(range(8))
    pods = [reply_partition(f"lorelay-gateway-{number}", 8) for number in range(8)]
    assert sorted(pods) == list(range(8))


def test_a_name_without_a_number_has_a_place_that_stays() -> None:
    place = reply_partition("gateway-berlin", 8)
    assert 0 <= place < 8
    assert place == reply_partition("gateway-berlin", 8)


def test_a_lone_partition_is_everybody_s() -> None:
    assert {reply_partition(name, 1) for name in ("gateway", "gateway-7", "gateway-x")} == {0}
