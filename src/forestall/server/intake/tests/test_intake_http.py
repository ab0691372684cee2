"""The edges of HTTP: slow senders, silent ones, requests sent ahead, headers without end, and stopping."""

import asyncio
import logging
import re
from contextlib import asynccontextmanager

import pytest

from forestall.server.intake import serving
from forestall.server.intake.refused import RefusedError
from forestall.server.intake.serving import Connections, HttpConnection


class Echo:
    """Answers with the path and body; waits at its gate first."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = 0

    def body_limit(self, path):
        return 1000

    def hold(self, count):
        self.held += count

    def release(self, count):
        self.held -= count

    async def respond(self, request):
        await self.gate.wait()
        if request.path == "/defect":
            raise ZeroDivisionError("a defect")
        return 200, request.path.encode() + request.body

    def refuse(self, refused: RefusedError):
        return 413, str(refused.code).encode()


@asynccontextmanager
async def served():
    echo = Echo()
    connections = Connections(echo)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpConnection(connections), "127.0.0.1", 0)
    try:
        yield echo, connections, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(connections.open):
            connection.hang_up()
        await asyncio.sleep(0.05)
        assert echo.held == 0, "every byte held was released"
        assert not connections.open
        assert not connections.deadlines


def run(story):
    async def whole():
        async with served() as (echo, connections, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await story(echo, connections, reader, writer)
            writer.close()

    asyncio.run(whole())


async def rest(reader):
    """Everything until the server closes."""
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        return b""


def post(path=b"/a", body=b"x", more=b""):
    return b"POST %s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n%s" % (path, more, len(body), body)


def statuses(answer):
    return re.findall(rb"HTTP/1.1 (\d+) ", answer)


def test_requests_are_answered_in_their_order_however_they_are_cut():
    async def story(echo, connections, reader, writer):
        stream = post(b"/1", b"one") + post(b"/2", b"") + post(b"/3", b"three", b"Connection: close\r\n")
        for at in range(0, len(stream), 7):
            writer.write(stream[at : at + 7])
            await asyncio.sleep(0)
        answer = await rest(reader)
        assert statuses(answer) == [b"200"] * 3
        assert answer.index(b"/1one") < answer.index(b"/2") < answer.index(b"/3three")

    run(story)


def test_a_few_requests_may_be_sent_ahead_and_no_more():
    async def story(echo, connections, reader, writer):
        echo.gate.clear()
        writer.write(post() * (serving.MAX_PIPELINED + 3))
        await asyncio.sleep(0.05)
        echo.gate.set()
        assert statuses(await rest(reader)) == [b"200"]

    run(story)


@pytest.mark.parametrize("begun", [b"", b"POST /a HT", post()[:-1], post(body=b"x" * 900)[:-300]])
def test_whoever_says_nothing_or_not_enough_is_hung_up_on(begun):
    async def story(echo, connections, reader, writer):
        writer.write(begun)
        await asyncio.sleep(0.05)
        now = asyncio.get_running_loop().time()
        connections.sweep(now + serving.FIRST_REQUEST_SECONDS - 2)
        assert len(connections.open) == 1
        connections.sweep(now + serving.REQUEST_SECONDS + 1)
        assert await rest(reader) == b""

    run(story)


def test_an_idle_agent_is_kept_for_two_intervals_and_a_busy_one_always():
    async def story(echo, connections, reader, writer):
        now = asyncio.get_running_loop().time()
        echo.gate.clear()
        writer.write(post())
        await asyncio.sleep(0.05)
        connections.sweep(now + 10_000)
        assert connections.open, "what is being answered owes us nothing"
        echo.gate.set()
        await reader.readuntil(b"/ax")
        connections.sweep(now + 125)
        assert connections.open
        connections.sweep(now + serving.IDLE_SECONDS + 5)
        assert await rest(reader) == b""

    run(story)


@pytest.mark.parametrize(
    "wrong",
    [
        post(body=b"x" * 1001),
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"200\r\n" + b"x" * 512 + b"\r\n") * 2,
        b"POST /a HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 100) for number in range(300)),
        b"POST /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /a HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"\x16\x03\x01 this is not HTTP",
    ],
    ids=["length", "chunks", "headers", "path", "two lengths", "negative", "noise"],
)  # fmt: skip
def test_what_is_refused_half_way_is_answered_and_ends_the_connection(wrong):
    async def story(echo, connections, reader, writer):
        writer.write(wrong + b"\r\n" + post(b"/smuggled"))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert statuses(answer) == [b"413"]
        assert b"Connection: close" in answer
        await asyncio.sleep(0.05)
        connections.sweep(asyncio.get_running_loop().time() + serving.LINGER_SECONDS + 1)
        assert b"smuggled" not in await rest(reader)

    run(story)


def test_a_defect_is_logged_and_answered_without_its_text(caplog):
    async def story(echo, connections, reader, writer):
        writer.write(post(b"/defect"))
        answer = await rest(reader)
        assert statuses(answer) == [b"500"]
        assert b"defect" not in answer

    with caplog.at_level(logging.ERROR):
        run(story)
    assert "ZeroDivisionError: a defect" in caplog.text


def test_stopping_answers_what_is_being_answered():
    async def story(echo, connections, reader, writer):
        echo.gate.clear()
        writer.write(post())
        await asyncio.sleep(0.05)
        for connection in list(connections.open):
            connection.shutdown()
        echo.gate.set()
        answer = await rest(reader)
        assert statuses(answer) == [b"200"]
        assert b"Connection: close" in answer

    run(story)
