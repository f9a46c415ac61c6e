"""Scripts are called now and answered later: in order, once each, whatever happens to the connection meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.commands.core import Script
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.recorder.client import connect
from app.recorder.line import Line

ADD = "redis.call('RPUSH', KEYS[1], ARGV[1]) return ARGV[1]"


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url, retries=0) as client:
        yield client


@pytest.fixture
def add(client: Redis) -> Script:
    return client.register_script(ADD)


@pytest.fixture
def line(client: Redis) -> Line:
    return Line(client)


def added(client: Redis) -> list[bytes]:
    return client.lrange("list", 0, -1)  # type: ignore[return-value]


def test_redis_runs_calls_in_order_before_anybody_reads_an_answer(line: Line, add: Script, client: Redis) -> None:
    calls = [line.call(add, ["list"], [number]) for number in range(3)]
    for number in range(3):
        assert client.blmove("list", "seen", 20, "LEFT", "RIGHT") == str(number).encode()
    assert [line.answer(call) for call in calls] == [b"0", b"1", b"2"]


def test_an_answer_that_nobody_read_is_not_taken_for_the_next_one(line: Line, add: Script) -> None:
    line.call(add, ["list"], ["lost"])
    assert line.answer(line.call(add, ["list"], ["kept"])) == b"kept"
    assert line.answer(line.call(add, ["list"], ["next"])) == b"next"


def test_a_call_whose_answer_is_lost_is_made_again(line: Line, add: Script, client: Redis) -> None:
    calls = [line.call(add, ["list"], [number]) for number in range(2)]
    own = client.client_id()
    for other in client.client_list():
        if int(other["id"]) != own:
            client.client_kill_filter(_id=other["id"])
    assert [line.answer(call) for call in calls] == [b"0", b"1"]
    assert line.answer(line.call(add, ["list"], [2])) == b"2"


def test_a_call_given_up_is_made_again_when_its_answer_is_wanted(line: Line, add: Script) -> None:
    call = line.call(add, ["list"], [0])
    line.hang_up()
    assert line.answer(call) == b"0"


def test_a_redis_that_has_forgotten_the_script_is_told_it_again(line: Line, add: Script, client: Redis) -> None:
    line.answer(line.call(add, ["list"], [0]))
    client.script_flush()
    calls = [line.call(add, ["list"], [number]) for number in (1, 2)]
    assert [line.answer(call) for call in calls] == [b"1", b"2"]
    assert added(client) == [b"0", b"1", b"2"]


def test_what_redis_refuses_is_raised_where_the_answer_is_read(line: Line, add: Script, client: Redis) -> None:
    client.set("list", "no list")
    refused, fine = line.call(add, ["list"], [0]), line.call(add, ["other"], [1])
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        line.answer(refused)
    assert line.answer(fine) == b"1"


def test_without_redis_the_answer_is_what_fails() -> None:
    with connect("redis://127.0.0.1:1/0", retries=0) as client:
        line = Line(client)
        call = line.call(client.register_script(ADD), ["list"], [0])
        with pytest.raises(RedisConnectionError):
            line.answer(call)


def test_a_redis_that_says_nothing_is_not_asked_again(redis_url: str, client: Redis) -> None:
    with Redis.from_url(redis_url, socket_timeout=0.5) as impatient:
        line, add = Line(impatient), impatient.register_script(ADD)
        assert line.answer(line.call(add, ["list"], [0])) == b"0"
        client.client_pause(2_000)
        call = line.call(add, ["list"], [1])
        with pytest.raises(RedisTimeoutError):
            line.answer(call)
        client.ping()  # the pause is over
        assert line.answer(line.call(add, ["list"], [2])) == b"2"
    assert added(client).count(b"1") <= 1


def test_a_health_check_doesnt_take_an_answer_for_its_own(redis_url: str) -> None:
    """One is due with each command here."""
    with Redis.from_url(redis_url, health_check_interval=1e-9) as client:
        line, add = Line(client), client.register_script(ADD)
        calls = [line.call(add, ["list"], [number]) for number in range(3)]
        assert [line.answer(call) for call in calls] == [b"0", b"1", b"2"]
        assert added(client) == [b"0", b"1", b"2"]


def test_the_connection_goes_back_to_the_pool(line: Line, add: Script, client: Redis) -> None:
    before = len(client.client_list())
    for number in range(20):
        calls = [line.call(add, ["list"], [number]), line.call(add, ["list"], [number])]
        assert [line.answer(call) for call in calls] == [str(number).encode()] * 2
    assert len(client.client_list()) <= before + 1
