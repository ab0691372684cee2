"""What a check-in costs: the real intake process on core 0, a generator on core 1, check-ins of 100 samples.

Everything is on: TLS 1.3, MAC, inflate, decode, sequence, thresholds, commit to stable storage before the answer. The
bodies are built before; every device has a catalogue and random walks of its own. Afterwards the worker's part (apply,
then pack) is measured in a process of its own, and each step of a check-in alone, to say where the time goes. When
VictoriaMetrics is installed it takes the same samples by remote write over TLS in the same run.

``python -m bench.intake [--devices N] [--check-ins N] [--connections N]``
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import shutil
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import uvloop

SERIES = 100
SERVER_CORE, GENERATOR_CORE = 0, (os.cpu_count() or 1) - 1
RESULTS = Path(__file__).parent / "results"
SETTLE_SECONDS = 3.0
TICKS = os.sysconf("SC_CLK_TCK")


# --- samples: 40 % gauges with two places, 30 % counters, 20 % byte gauges, 10 % steady -----------------------------


def series_of(device: int) -> tuple[str, ...]:
    volumes = ["/", "/boot", "/home", "/var", "/srv", "/usr", "/opt", f"/data-{device}"]
    names = ["cpu.used_percent", "memory.available_percent", "memory.swap_used_percent", "load.per_cpu"]
    names += [f"disk.used_percent{{volume={one}}}" for one in volumes]
    names += [f"disk.inodes_used_percent{{volume={one}}}" for one in volumes]
    names += [f"cpu.core_used_percent{{core={core}}}" for core in range(40 - len(names))]
    for kind in ("read", "written"):
        names += [f"disk.{kind}_bytes_total{{disk=sd{letter}}}" for letter in "abcdefgh"]
    names += [f"network.received_bytes_total{{interface=eth{number}}}" for number in range(70 - len(names))]
    names += [f"memory.part_bytes{{part={number}}}" for number in range(20)]
    names += [f"process.count{{user=u{number}}}" for number in range(10)]
    return tuple(names)


def values_of(device: int, rows: int) -> np.ndarray:
    noise = np.random.default_rng(device)
    gauges = np.round(np.clip(noise.uniform(10, 75, 40) + np.cumsum(noise.normal(0, 1, (rows, 40)), axis=0), 0, 100), 2)
    counters = noise.integers(10**6, 10**9, 30) + np.cumsum(noise.poisson(1000, (rows, 30)), axis=0)
    sizes = 4096 * (noise.integers(10**5, 10**7, 20) + np.cumsum(noise.integers(-50, 50, (rows, 20)), axis=0))
    steady = np.broadcast_to(noise.integers(0, 100, 10), (rows, 10))
    return np.hstack([gauges, counters, sizes, steady]).astype("<f8")


# --- processes ------------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=file,
            stderr=file,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def far_process(step: str, environment: dict[str, str], *arguments: str, core: int | None = None) -> dict[str, Any]:
    """Run a step of this module in a process of its own (Django reads its settings once); its JSON answer."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.intake", "--step", step, *arguments],
        env=environment,
        capture_output=True,
        check=False,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode != 0:
        raise SystemExit(f"step {step} failed:\n{done.stderr.decode()[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# --- steps that need Django -----------------------------------------------------------------------------------------


def step_prepare(devices: int) -> dict[str, Any]:
    """Database, certificates, and approved devices; their ids and private keys."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import transaction

    from forestall.server.certificates import certificates_ensure
    from forestall.server.home import current_home, intake_address, read_or_make_secret, write_private
    from forestall.server.inventory.services import device_approve, device_enrol, enrolment_token_create
    from forestall.server.people.scope import Scope
    from forestall.server.people.services import client_create, site_create
    from forestall.trust.keys import new_key, private_bytes, public_bytes

    home, scope, now = current_home(), Scope.system("bench"), datetime.now(UTC)
    home.server.mkdir(parents=True, exist_ok=True)
    read_or_make_secret(home.session_secret)
    write_private(home.log_key, private_bytes(new_key()))
    call_command("migrate", run_syncdb=True, interactive=False, verbosity=0)
    certificates_ensure(home=home, address=intake_address(), now=now)
    made = []
    with transaction.atomic():
        site = site_create(client=client_create(name="Acme", timezone="UTC"), name="Main site")
        for number in range(devices):
            key = new_key()
            token = enrolment_token_create(site=site, scope=scope, now=now, ca_fingerprint="", root_fingerprint="")
            device = device_enrol(
                token_secret=token.split(".")[1],
                public_key=public_bytes(key),
                hostname=f"device-{number}",
                machine_id="",
                agent_version="1",
                now=now,
            )
            device_approve(device=device, scope=scope, now=now)
            made.append([str(device.pk), private_bytes(key).hex()])
    return {"devices": made, "ca": home.ca_file.read_text()}


def step_worker(check_ins: int) -> dict[str, Any]:
    """Apply the journal, then pack: CPU seconds of each, and what the samples take."""
    import django

    django.setup()
    from forestall.server.home import current_home
    from forestall.server.intake.apply import journal_apply
    from forestall.server.metrics.store import open_store

    home = current_home()
    store = open_store(home)
    began, applied = time.process_time(), 0
    while done := journal_apply(home=home, store=store, now=datetime.now(UTC)):
        applied += done
    apply_seconds = time.process_time() - began
    began = time.process_time()
    frames = store.compact(now=datetime.now(UTC))
    compact_seconds = time.process_time() - began
    store.close()
    with sqlite3.connect(home.samples) as samples:
        kept = {
            table: samples.execute(f"SELECT coalesce(sum(length(data)), 0) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("recent", "frame", "rollup")
        }
        samples.execute("VACUUM")
        samples.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return {
        "applied": applied,
        "apply_seconds": apply_seconds,
        "compact_seconds": compact_seconds,
        "frames": frames,
        "kept_bytes": kept,
        "file_bytes": home.samples.stat().st_size,
    }


def step_parts(bodies: int) -> dict[str, Any]:
    """Each step of a check-in alone, on the server's core: microseconds per check-in."""
    import django

    django.setup()
    return {"parts": parts_measure(bodies)}


# --- the generator --------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Requests to send: a queue of (device, its requests in order), and what came back."""

    work: deque[list[bytes]]
    good: bytes
    """Beginning of a right answer."""
    latencies: list[float] = field(default_factory=list)
    wrong: list[bytes] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One keep-alive connection: the next request when the answer to the last is there."""

    def __init__(self, load: Load, done: asyncio.Future[None]) -> None:
        self.load, self.done = load, done
        self.requests: Iterator[bytes] = iter(())
        self.received = b""
        self.sent_at = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        request = next(self.requests, None)
        if request is None:
            if not self.load.work:
                if not self.done.done():
                    self.done.set_result(None)
                self.transport.close()
                return
            self.requests = iter(self.load.work.popleft())
            request = next(self.requests)
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, rest = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = 0
        at = head.lower().find(b"content-length:")
        if at >= 0:
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self.load.latencies.append(time.perf_counter() - self.sent_at)
        if not self.received.startswith(self.load.good) and len(self.load.wrong) < 5:
            self.load.wrong.append(self.received[:600])
        self.received = b""
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server hung up"))


async def send_all(load: Load, port: int, ca: str, connections: int) -> float:
    """Seconds from the first request to the last answer."""
    context = ssl.create_default_context(cadata=ca)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    waiting = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        waiting.append(done)
        await loop.create_connection(
            lambda done=done: Connection(load, done),  # type: ignore[misc]
            "127.0.0.1",
            port,
            ssl=context,
            server_hostname="127.0.0.1",
        )
    await asyncio.gather(*waiting)
    return time.perf_counter() - began


def drive(load: Load, port: int, ca: str, connections: int) -> float:
    return uvloop.run(send_all(load, port, ca, connections))


def open_sessions(devices: list[list[str]], port: int, ca: str) -> list[Any]:
    import http.client

    from forestall.trust.keys import private_key
    from forestall.wire import codec
    from forestall.wire.session import ChallengeReply, SessionReply, SessionRequest, session_message

    connection = http.client.HTTPSConnection("127.0.0.1", port, context=ssl.create_default_context(cadata=ca))
    sessions = []
    for device_id, key in devices:
        connection.request("GET", codec.CHALLENGE_PATH)
        challenge = msgspec.msgpack.decode(connection.getresponse().read(), type=ChallengeReply).challenge
        signature = private_key(bytes.fromhex(key)).sign(session_message(device_id=device_id, challenge=challenge))
        request = SessionRequest(device_id=device_id, challenge=challenge, signature=signature)
        connection.request("POST", codec.SESSION_PATH, codec.encode(request))
        sessions.append(msgspec.msgpack.decode(connection.getresponse().read(), type=SessionReply))
    connection.close()
    return sessions


def check_in_body(number: int, names: tuple[str, ...], time_ms: int, row: np.ndarray, catalogue: bytes) -> bytes:
    from forestall.wire import codec
    from forestall.wire.checkin import CheckIn, SampleBlock

    return codec.pack(
        CheckIn(
            sequence=number,
            made_at=datetime.fromtimestamp(time_ms / 1000, UTC),
            boot_id="7f0c3c1e-9d4b-4d37-9c55-0d6f3f3a1b2c",
            agent_version="1.0",
            samples=SampleBlock(
                catalogue=catalogue, times=[time_ms], values=row.tobytes(), names=list(names) if number == 1 else None
            ),
        )
    )


def check_in_requests(sessions: list[Any], rows: int, start_ms: int) -> Iterator[list[bytes]]:
    from forestall.wire import codec
    from forestall.wire.session import check_in_mac

    for device, session in enumerate(sessions):
        names, table = series_of(device), values_of(device, rows)
        catalogue = codec.catalogue_id(names)
        requests = []
        for row in range(rows):
            body = check_in_body(row + 1, names, start_ms + row * 60_000, table[row], catalogue)
            mac = check_in_mac(key=session.key, session=session.session, body=body).hex()
            head = (
                f"POST {codec.CHECK_IN_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {codec.CONTENT_TYPE}\r\n"
                f"Content-Length: {len(body)}\r\n{codec.SESSION_HEADER}: {session.session}\r\n"
                f"{codec.MAC_HEADER}: {mac}\r\n{codec.SENT_AT_HEADER}: {start_ms + row * 60_000}\r\n\r\n"
            )
            requests.append(head.encode() + body)
        yield requests


# --- remote write for the peer --------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _labels(name: str, device: int) -> bytes:
    metric, _, label = name.partition("{")
    pairs = [
        ("__name__", metric.replace(".", "_")),
        ("client", "acme"),
        ("device", f"device-{device}"),
        ("site", "main"),
    ]
    if label:
        key, _, value = label.rstrip("}").partition("=")
        pairs.append((key, value))
    return b"".join(_field(1, _field(1, key.encode()) + _field(2, value.encode())) for key, value in sorted(pairs))


def _snappy(data: bytes) -> bytes:
    """Snappy's block format with literals alone: valid, and cheaper to read than compressed blocks."""
    out = [_varint(len(data))]
    for at in range(0, len(data), 65536):
        part = data[at : at + 65536]
        out.append(b"\xf4" + struct.pack("<H", len(part) - 1) + part)
    return b"".join(out)


def remote_write_requests(devices: int, rows: int, start_ms: int) -> Iterator[list[bytes]]:
    for device in range(devices):
        labels = [_labels(name, device) for name in series_of(device)]
        table = values_of(device, rows)
        requests = []
        for row in range(rows):
            moment = b"\x10" + _varint(start_ms + row * 60_000)
            body = _snappy(
                b"".join(
                    _field(1, label + _field(2, b"\x09" + struct.pack("<d", value) + moment))
                    for label, value in zip(labels, table[row], strict=True)
                )
            )
            head = (
                "POST /api/v1/write HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\n"
                f"Content-Encoding: snappy\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            requests.append(head.encode() + body)
        yield requests


def peer_measure(
    folder: Path, tls: Path, ca: str, arguments: argparse.Namespace, start_ms: int
) -> dict[str, Any] | None:
    program = shutil.which("victoria-metrics")
    if program is None:
        return None
    port = free_port()
    data = folder / "victoria"
    command = [
        program, f"-storageDataPath={data}", f"-httpListenAddr=127.0.0.1:{port}", "-tls",
        f"-tlsCertFile={tls / 'intake.pem'}", f"-tlsKeyFile={tls / 'intake.key'}", "-retentionPeriod=12",
    ]  # fmt: skip
    environment = {**os.environ, "GOMAXPROCS": "1"}
    with running(command, port, environment, folder / "victoria.log") as process:
        load = Load(
            work=deque(remote_write_requests(arguments.devices, arguments.check_ins, start_ms)), good=b"HTTP/1.1 204"
        )
        before = cpu_seconds(process.pid)
        seconds = drive(load, port, ca, arguments.connections)
        time.sleep(SETTLE_SECONDS)
        spent = cpu_seconds(process.pid) - before
        if load.wrong:
            raise SystemExit(f"VictoriaMetrics answered: {load.wrong[0]!r}")
        import urllib.request

        context = ssl.create_default_context(cadata=ca)
        for path in ("/internal/force_flush", "/internal/force_merge"):
            urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", context=context).read()
        time.sleep(SETTLE_SECONDS)
        peak = peak_mib(process.pid)
    size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    samples = arguments.devices * arguments.check_ins * SERIES
    return {
        "requests_per_second": len(load.latencies) / seconds,
        "cpu_seconds_per_million": spent / samples * 1e6,
        "p99_ms": percentile(load.latencies, 99),
        "bytes_per_sample": size / samples,
        "peak_mib": peak,
    }


# --- where the time goes --------------------------------------------------------------------------------------------


def _microseconds(act: Callable[[int], object], count: int, rounds: int = 5) -> float:
    """CPU microseconds per call: the best of a few rounds."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        began = time.process_time_ns()
        for index in range(count):
            act(index)
        best = min(best, (time.process_time_ns() - began) / count / 1000)
        gc.enable()
    return best


def parts_measure(count: int) -> dict[str, float]:
    from forestall.server.certificates import certificate_file, key_file
    from forestall.server.checks.services import levels_for_intake
    from forestall.server.home import current_home
    from forestall.server.intake.journal import Entry, EntryKind, Group, JournalFile
    from forestall.server.intake.levels import Crossings
    from forestall.server.intake.sessions import Sessions
    from forestall.wire import codec
    from forestall.wire.checkin import CheckInReply
    from forestall.wire.session import check_in_mac

    home = current_home()
    sessions = Sessions(b"s" * 32)
    session = sessions.session_make(device_id=UUID(int=1), now=time.time())
    names = series_of(0)
    catalogue = codec.catalogue_id(names)
    table = values_of(0, count)
    start = int(time.time() * 1000)
    bodies = [check_in_body(row + 2, names, start + row, table[row], catalogue) for row in range(count)]
    expanded = [codec.expand(body) for body in bodies]
    messages = [codec.decode_check_in(data) for data in expanded]
    crossings = Crossings()
    crossings.levels_set(levels_for_intake())
    reply = CheckInReply(next_sequence=7, server_time=datetime.now(UTC))

    def compare(index: int) -> None:
        block = messages[index].samples
        if block is None:
            raise SystemExit("a check-in of this benchmark has samples")
        _, sides = crossings.compare(device=b"d", catalogue=block.catalogue, names=names, rows=1, values=block.values)
        crossings.settle(device=b"d", sides=sides)

    parts = {
        "session": _microseconds(lambda _: sessions.session_read(token=session.token, now=1.0), count),
        "MAC": _microseconds(
            lambda index: check_in_mac(key=session.key, session=session.token, body=bodies[index]).hex(), count
        ),
        "inflate": _microseconds(lambda index: codec.expand(bodies[index]), count),
        "decode": _microseconds(lambda index: codec.decode_check_in(expanded[index]), count),
        "compare": _microseconds(compare, count),
        "reply": _microseconds(lambda _: codec.encode(reply), count),
    }

    group_size = 32
    file = JournalFile(home.server / "bench-journal.sqlite3")
    file.open()
    groups = [
        Group(
            entries=[
                Entry(EntryKind.CHECK_IN, index.to_bytes(16, "big"), 1, start, None, "", body, None)
                for index, body in enumerate(bodies[at : at + group_size])
            ]
        )
        for at in range(0, count - group_size, group_size)
    ]
    parts[f"journal commit (groups of {group_size})"] = (
        _microseconds(lambda index: file.commit(groups[index]), len(groups), 3) / group_size
    )
    file.close()

    answer = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.forestall+msgpack\r\ncontent-length: 60\r\n\r\n" + b"x" * 60
    )
    head = (
        f"POST {codec.CHECK_IN_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {codec.CONTENT_TYPE}\r\n"
        f"Content-Length: {len(bodies[0])}\r\n{codec.SESSION_HEADER}: {session.token}\r\n"
        f"{codec.MAC_HEADER}: {'0' * 64}\r\n\r\n"
    ).encode()
    parts["TLS records"] = _tls_microseconds(
        head + bodies[0], answer, certificate_file(home), key_file(home), home.ca_file, count
    )
    parts["HTTP (parser, task, answer)"] = asyncio.run(_http_microseconds(head + bodies[0], count))
    return parts


def _tls_microseconds(request: bytes, answer: bytes, certificate: Path, key: Path, ca: Path, count: int) -> float:
    """The server's side of one exchange: decrypt the request, encrypt the answer."""
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(certificate, key)
    here = ssl.create_default_context(cafile=str(ca))
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    server = there.wrap_bio(pipes[0], pipes[1], server_side=True)
    client = here.wrap_bio(pipes[2], pipes[3], server_hostname="127.0.0.1")

    def carry() -> None:
        pipes[0].write(pipes[3].read())
        pipes[2].write(pipes[1].read())

    for _ in range(5):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            carry()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.read(1)
    best = float("inf")
    for _ in range(5):
        spent = 0
        for _ in range(count):
            client.write(request)
            encrypted = pipes[3].read()
            began = time.process_time_ns()
            pipes[0].write(encrypted)
            server.read(65536)
            server.write(answer)
            out = pipes[1].read()
            spent += time.process_time_ns() - began
            pipes[2].write(out)
            client.read(65536)
        best = min(best, spent / count / 1000)
    return best


async def _http_microseconds(request: bytes, count: int) -> float:
    """The server's HTTP side with a transport that goes nowhere and an application that only answers."""
    from forestall.server.intake.serving import Connections, HttpConnection, Request

    class Answers:
        def body_limit(self, path: str) -> int:
            return 1 << 20

        def hold(self, count: int) -> None:
            pass

        def release(self, count: int) -> None:
            pass

        async def respond(self, request: Request) -> tuple[int, bytes]:
            return 200, b"x" * 60

        def refuse(self, refused: Exception) -> tuple[int, bytes]:
            raise refused

    class Nowhere(asyncio.Transport):
        def write(self, data: Any) -> None:
            pass

        def is_closing(self) -> bool:
            return False

    connection = HttpConnection(Connections(Answers()))
    connection.connection_made(Nowhere())
    best = float("inf")
    for _ in range(5):
        began = time.process_time_ns()
        for _ in range(count):
            connection.data_received(request)
            await asyncio.sleep(0)
        best = min(best, (time.process_time_ns() - began) / count / 1000)
    connection.connection_lost(None)
    return best


# --- the run --------------------------------------------------------------------------------------------------------


def percentile(values: list[float], share: float) -> float:
    return float(np.percentile(np.array(values), share)) * 1000


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    home = folder / "home"
    port = free_port()
    environment = {
        **os.environ,
        "FORESTALL_HOME": str(home),
        "FORESTALL_INTAKE": f"127.0.0.1:{port}",
        "DJANGO_SETTINGS_MODULE": "forestall.server.settings",
    }
    samples = arguments.devices * arguments.check_ins * SERIES
    prepared = far_process("prepare", environment, "--devices", str(arguments.devices))
    os.sched_setaffinity(0, {GENERATOR_CORE})
    # Whole hours that are over, so that packing sees what it sees in real life.
    hours = -(-arguments.check_ins // 60) + 1
    start_ms = (int(time.time()) // 3600 - hours) * 3_600_000
    with running([sys.executable, "-m", "forestall.server.intake"], port, environment, folder / "intake.log") as intake:
        sessions = open_sessions(prepared["devices"], port, prepared["ca"])
        requests = list(check_in_requests(sessions, arguments.check_ins, start_ms))
        random.Random(1).shuffle(requests)
        sent_bytes = sum(len(request) for one in requests for request in one)
        load = Load(work=deque(requests), good=b"HTTP/1.1 200")
        gc.collect()
        gc.disable()
        before = cpu_seconds(intake.pid)
        own = time.process_time()
        seconds = drive(load, port, prepared["ca"], arguments.connections)
        generator = time.process_time() - own
        time.sleep(SETTLE_SECONDS)
        spent = cpu_seconds(intake.pid) - before
        idle_before = cpu_seconds(intake.pid)
        time.sleep(5)
        idle = (cpu_seconds(intake.pid) - idle_before) / 5
        gc.enable()
        peak = peak_mib(intake.pid)
    if load.wrong:
        raise SystemExit(f"intake answered: {load.wrong[0]!r}")
    worker = far_process("worker", environment, core=SERVER_CORE)
    if worker["applied"] < arguments.devices * arguments.check_ins:
        raise SystemExit(f"{worker['applied']} check-ins applied of {arguments.devices * arguments.check_ins}")
    parts = far_process("parts", environment, core=SERVER_CORE)["parts"]
    own_share = spent - idle * (seconds + SETTLE_SECONDS)
    return {
        "devices": arguments.devices,
        "check_ins": len(load.latencies),
        "samples": samples,
        "connections": arguments.connections,
        "seconds": seconds,
        "check_ins_per_second": len(load.latencies) / seconds,
        "cpu_seconds_per_million": spent / samples * 1e6,
        "cpu_seconds_per_million_without_idle_work": own_share / samples * 1e6,
        "idle_cpu_share": idle,
        "generator_busy": generator / seconds,
        "p50_ms": percentile(load.latencies, 50),
        "p99_ms": percentile(load.latencies, 99),
        "peak_mib": peak,
        "request_bytes": sent_bytes / len(load.latencies),
        "apply_cpu_seconds_per_million": worker["apply_seconds"] / samples * 1e6,
        "pack_cpu_seconds_per_million": worker["compact_seconds"] / samples * 1e6,
        "frame_bytes_per_sample": worker["kept_bytes"]["frame"] / samples,
        "rollup_bytes_per_sample": worker["kept_bytes"]["rollup"] / samples,
        "file_bytes_per_sample": worker["file_bytes"] / samples,
        "parts_us": parts,
        "whole_us": spent / len(load.latencies) * 1e6,
        "peer": peer_measure(folder, home / "server" / "tls", prepared["ca"], arguments, start_ms),
    }


def report(found: dict[str, Any]) -> None:
    print(
        f"{found['check_ins']:,} check-ins of {SERIES} samples, {found['devices']:,} devices, "
        f"{found['connections']} at a time, durable and judged"
    )
    rows = [
        ("check-ins/s", f"{found['check_ins_per_second']:,.0f}"),
        ("CPU s per million samples, intake", f"{found['cpu_seconds_per_million']:.2f}   (goal: 2 or less)"),
        ("   without its work once a second", f"{found['cpu_seconds_per_million_without_idle_work']:.2f}"),
        ("CPU s per million samples, apply", f"{found['apply_cpu_seconds_per_million']:.2f}"),
        ("CPU s per million samples, pack", f"{found['pack_cpu_seconds_per_million']:.2f}"),
        ("latency p50 / p99", f"{found['p50_ms']:.1f} / {found['p99_ms']:.1f} ms"),
        (
            "bytes per sample: frames, rollups",
            f"{found['frame_bytes_per_sample']:.2f}, {found['rollup_bytes_per_sample']:.2f}",
        ),
        ("bytes per sample: whole file", f"{found['file_bytes_per_sample']:.2f}"),
        ("bytes per request on the wire", f"{found['request_bytes']:,.0f}"),
        ("peak memory of intake", f"{found['peak_mib']:.0f} MiB"),
        ("generator's core busy", f"{found['generator_busy']:.0%}"),
    ]
    for name, value in rows:
        print(f"  {name:<36} {value}")
    print("\n  where the time of a check-in goes (CPU microseconds, each step alone)")
    for name, value in sorted(found["parts_us"].items(), key=lambda part: -part[1]):
        print(f"  {name:<36} {value:6.1f}")
    rest = found["whole_us"] - sum(found["parts_us"].values())
    print(f"  {'the rest: sockets, loop, threads':<36} {rest:6.1f}")
    print(f"  {'whole':<36} {found['whole_us']:6.1f}")
    peer = found["peer"]
    if peer is None:
        print("\n  VictoriaMetrics is not installed here (Debian: victoria-metrics), so there is no ratio to it.")
        return
    whole = found["cpu_seconds_per_million"]
    both = whole + found["apply_cpu_seconds_per_million"] + found["pack_cpu_seconds_per_million"]
    print(
        f"\n  VictoriaMetrics, same samples, one device per request, TLS: "
        f"{peer['cpu_seconds_per_million']:.2f} CPU s per million, {peer['requests_per_second']:,.0f} requests/s, "
        f"p99 {peer['p99_ms']:.1f} ms, {peer['bytes_per_sample']:.2f} bytes per sample, {peer['peak_mib']:.0f} MiB"
    )
    print(f"  intake / VictoriaMetrics                  {whole / peer['cpu_seconds_per_million']:.2f} x CPU")
    print(f"  intake + apply + pack / VictoriaMetrics   {both / peer['cpu_seconds_per_million']:.2f} x CPU")
    size = found["file_bytes_per_sample"] / peer["bytes_per_sample"]
    print(f"  file / VictoriaMetrics' folder            {size:.2f} x bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure intake.")
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--check-ins", type=int, default=60, help="per device")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--step", choices=["prepare", "worker", "parts"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        steps: dict[str, Callable[[], dict[str, Any]]] = {
            "prepare": lambda: step_prepare(arguments.devices),
            "worker": lambda: step_worker(arguments.check_ins),
            "parts": lambda: step_parts(2000),
        }
        print(json.dumps(steps[arguments.step]()))
        return 0
    with tempfile.TemporaryDirectory(prefix="forestall-bench-") as folder:
        found = measure(arguments, Path(folder))
    report(found)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "intake.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
