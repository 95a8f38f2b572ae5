"""What clients that mean no good do to the others: latency and memory of the live server, in peace
and under attack.

    python benchmarks/security/live_hostile.py [--seconds 30] [--sessions 20] [--model light]
        [--json out/live_hostile.json]

``jambatalk serve`` with a token, on one core, with the number of open files that many systems allow
by default (1,024). Polite clients stream in real time as in live_latency.py, first alone, then
beside each attack in turn, then beside all of them at once. The attacks run on this machine only,
for the given seconds, in bounded numbers. "new client" is how long somebody who comes during the
attack waits for their first answer. The server's memory is the resident one; "worker" is that of
the process that runs jobs. The alternative in the same run is peace: ratios are to it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import soundfile
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from jambatalk.atomic import write_json
from jambatalk.audio import Speech

sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))

from live_latency import DEMO, client, pin

TOKEN = "a-token-of-this-benchmark"
START = json.dumps({"type": "start", "token": TOKEN})
GONE = (
    ConnectionClosed,
    InvalidHandshake,
    OSError,
    httpx.HTTPError,
    asyncio.TimeoutError,
    EOFError,
)
OPEN_FILES = 1024
SILENT = 1500  # connections that ask for nothing
SLOWEST = 20.0  # seconds that a new client waits for an answer at most
SILENCE_BYTES = 10_000_000_000
REPORTED = 180.0  # seconds after which the attackers must have told what they were told
# Seconds that polite clients have begun before an attack; of their frames the first second does not
# count
EARLIER = 1.2


class Address(NamedTuple):
    """Where the server listens, and the file of much silence for it."""

    port: int
    silence: Path

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def live(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"


class Server:
    """``jambatalk serve`` on the second core."""

    def __init__(self, jobs: Path, silence: Path, model: str) -> None:
        limited = (
            "import resource, sys; soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE);"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, ({OPEN_FILES}, {OPEN_FILES}));"
            "from jambatalk.cli.main import main; sys.argv[0] = 'jambatalk'; main()"
        )
        options = ["serve", "--port", "0", "--token", TOKEN, "--jobs", str(jobs)]
        options += ["--model", model]
        one = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", limited, *options],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ | one,
        )
        assert self.process.stderr is not None
        said = ""
        while "ws://" not in said:
            line = self.process.stderr.readline()
            if not line:
                raise SystemExit(f"the server did not start: {said}")
            said += line
        self.address = Address(int(said.split("ws://127.0.0.1:")[1].split("/")[0]), silence)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (as long as the server)
        self._logging = asyncio.get_running_loop().run_in_executor(None, self._keep_log)
        pin(self.process.pid, 1)

    def _keep_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.write(line)

    def memory(self) -> tuple[float, float]:
        """Resident MB of the server, and of its children together."""
        return resident(self.process.pid), sum(map(resident, children(self.process.pid)))

    async def end(self) -> tuple[int, int]:
        """(exit status, lines in its log)."""
        self.process.terminate()
        await self._logging
        self.log.seek(0)
        return self.process.wait(), len(self.log.readlines())


def resident(process: int) -> float:
    """MB (Linux; elsewhere, and of the dead, 0)."""
    try:
        return (
            int(Path(f"/proc/{process}/statm").read_text().split()[1])
            * os.sysconf("SC_PAGE_SIZE")
            / 1e6
        )
    except (OSError, IndexError):
        return 0.0


def children(process: int) -> list[int]:
    """Processes that it began and that they began."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *children(int(child))]
    return found


class Attack:
    """What the attackers of one kind do until the time is over; ``answers`` counts what they are
    told.
    """

    def __init__(self, server: Address, until: float) -> None:
        self.server, self.until, self.answers = server, until, Counter[str]()

    def going(self) -> bool:
        return time.monotonic() < self.until

    async def again(self, once: Callable[[], Awaitable[str]], at_once: int, pause: float) -> None:
        """``once`` over and over, by so many."""

        async def one() -> None:
            while self.going():
                try:
                    self.answers[await asyncio.wait_for(once(), SLOWEST)] += 1
                except GONE as error:
                    self.answers[type(error).__name__] += 1
                await asyncio.sleep(pause)

        await asyncio.gather(*(one() for _ in range(at_once)))

    async def told(self, *messages: str | bytes) -> str:
        """Send these; the code of the error, or of the closing, that comes back."""
        async with connect(self.server.live, max_size=None, compression=None) as live:
            try:
                for message in messages:
                    await live.send(message)
                while True:
                    found = await asyncio.wait_for(live.recv(), SLOWEST)
                    if isinstance(found, str) and '"error"' in found:
                        return str(json.loads(found)["code"])
            except ConnectionClosed as closed:
                return f"closed {closed.rcvd.code if closed.rcvd else 'without a word'}"

    async def malformed(self) -> None:
        """Messages that are none."""
        rng = random.Random(0)
        bad: list[tuple[str | bytes, ...]] = [
            ("{",),
            ("[1]",),
            ("null",),
            (b"\x00" * 64,),
            ('{"type":"start","rate":1}',),
            ('{"type":"start","rate":1e999}',),
            ("[" * 100_000,),
            (START, "{"),
            (START, '{"type":"nonsense"}'),
            (START, b"\x00"),
            ('{"type":"start","fps":"NaN"}',),
            (START[:-1] + ',"encoding":"pcm_f32le"}', np.full(100, np.nan, np.float32).tobytes()),
            (START[:-1] + ',"encoding":"opus","rate":48000}', rng.randbytes(400)),
            (START[:-1] + ',"timestamps":true}', b"\xff" * 1000),
            (START[:-1] + ',"style":"../../etc/passwd"}',),
        ]
        await self.again(lambda: self.told(*rng.choice(bad)), 8, 0.01)

    async def poisoned(self) -> None:
        """Sound of numbers that no microphone gives, in sessions of the same batches as others."""
        rng = random.Random(4)
        start = START[:-1] + ',"encoding":"pcm_f32le"}'
        numbers = (1e15, -1e15, 3e38, 1e30, 1e-45, 1e4, float("inf"), float("nan"))

        def sound() -> bytes:
            block = np.full(640, rng.choice(numbers), np.float32)
            block[:: rng.choice((1, 2, 640))] *= -1
            return block.tobytes()

        await self.again(
            lambda: self.told(start, *(sound() for _ in range(40)), '{"type":"x"}'), 4, 0.02
        )

    async def oversized(self) -> None:
        """Messages of 64 MB."""
        big = bytes(1 << 26)
        await self.again(lambda: self.told(START, big), 3, 0.05)

    async def forged(self) -> None:
        """Tokens guessed."""
        rng = random.Random(1)

        async def once() -> str:
            guess = TOKEN[: rng.randrange(len(TOKEN))] + "x"
            return await self.told(json.dumps({"type": "start", "token": guess}))

        await self.again(once, 8, 0.01)

    async def sudden_death(self) -> None:
        """Sessions that begin, send sound, and are cut."""

        async def once() -> str:
            async with connect(self.server.live, compression=None) as live:
                await live.send(START)
                await live.recv()
                await live.send(bytes(64000))
                live.transport.abort()
            return "began"

        await self.again(once, 4, 0.05)

    async def slow_readers(self) -> None:
        """Sessions that send much and read nothing."""

        async def once() -> str:
            options: dict[str, Any] = {
                "max_queue": 1,
                "ping_interval": None,
                "close_timeout": 0.1,
                "compression": None,
            }
            async with connect(self.server.live, **options) as live:
                await live.send(START[:-1] + ',"fps":240}')
                while self.going():
                    await asyncio.wait_for(live.send(bytes(32000)), 5)
                    await asyncio.sleep(0.05)
            return "was let go on"

        await self.again(once, 8, 0.2)

    async def floods(self) -> None:
        """More sessions than there may be."""

        async def once() -> str:
            async with connect(self.server.live, compression=None, open_timeout=SLOWEST) as live:
                await live.send(START)
                found = json.loads(await live.recv())
                await asyncio.sleep(1.0)
                return str(found.get("code") or found["type"])

        await self.again(once, 60, 0.01)

    async def silent(self) -> None:
        """Connections that ask for nothing, half of them after the beginning of a request that
        never ends.
        """
        held: list[socket.socket] = []
        try:
            while self.going():
                for k in range(50):
                    if len(held) >= SILENT:
                        break
                    one = socket.socket()
                    one.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        one.connect(("127.0.0.1", self.server.port))
                    held.append(one)
                    await asyncio.sleep(0)
                    if k % 2:
                        with contextlib.suppress(OSError):
                            one.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ")
                await asyncio.sleep(0.2)
                for one in list(held):
                    try:
                        over = not one.recv(100)
                    except BlockingIOError:
                        over = False
                    except OSError:
                        over = True
                    if over:
                        self.answers["hung up on"] += 1
                        one.close()
                        held.remove(one)
        finally:
            self.answers["still held"] += len(held)
            for one in held:
                one.close()

    async def bodies(self) -> None:
        """Requests whose bodies come a byte at a time."""

        async def once() -> str:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
            path = random.choice(("/v1/speak", "/v1/jobs"))
            head = (
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
                "Content-Length: 30000\r\n\r\n"
            )
            answer = asyncio.create_task(reader.readline())
            try:
                writer.write(head.encode())
                while self.going():
                    done, _ = await asyncio.wait([answer], timeout=1.0)
                    if done:
                        return answer.result().decode().partition(" ")[2].strip() or "hung up on"
                    writer.write(b"x")
                return "was let go on"
            finally:
                answer.cancel()
                writer.close()

        await self.again(once, 100, 0.1)

    async def paths(self) -> None:
        """Ways out of the folders, garbage, wrong methods."""
        rng = random.Random(2)
        names = (
            "../../etc/passwd",
            "..%2f..%2fetc%2fpasswd",
            "%00",
            "\\..\\x",
            "a" * 5000,
            "%ff%fe",
            "..;/",
            "C:\\x",
            "//x//",
        )
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=self.server.http, timeout=SLOWEST) as web:

            async def once() -> str:
                name = rng.choice(names)
                place = rng.choice(("/", "/assets/", "/v1/faces/", "/v1/jobs/", "/v1/jobs?name="))
                reply = await web.request(
                    rng.choice(("GET", "POST", "DELETE", "PUT")),
                    place + name,
                    headers=bearer,
                    content=b"x" * 100,
                )
                return str(reply.status_code)

            await self.again(once, 4, 0.02)

    async def uploads(self) -> None:
        """Ten gigabytes of silence in a few megabytes, zips, and what is no sound."""
        rng = random.Random(3)
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("silence.wav", bytes(50_000_000))
        things = [
            self.server.silence.read_bytes(),
            zipped.getvalue(),
            rng.randbytes(100_000),
            b"",
            bytes(10),
        ]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(
            base_url=self.server.http, timeout=SLOWEST, headers=headers
        ) as web:
            first = await web.post("/v1/jobs?format=npz", content=things[0])
            self.answers[f"silence {first.status_code}"] += 1

            async def once() -> str:
                reply = await web.post("/v1/jobs?format=npz", content=rng.choice(things[1:]))
                return str(reply.status_code)

            await self.again(once, 2, 0.2)
            while first.is_success and time.monotonic() < self.until + 60:
                job = (await web.get(f"/v1/jobs/{first.json()['id']}?wait=10")).json()
                if job.get("status") in ("done", "failed"):
                    self.answers[f"silence: {job['error']}"] += 1
                    break
            for job in (await web.get("/v1/jobs")).json()["jobs"]:
                await web.delete(f"/v1/jobs/{job['id']}")


def make_silence(path: Path) -> None:
    """FLAC of 10 GB of 16-bit silence, a few megabytes."""
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16", format="FLAC") as sound:
        block = np.zeros((1 << 20, 2), np.int16)
        for _ in range(-(-SILENCE_BYTES // block.nbytes)):
            sound.write(block)


def attack(
    server: Address, kinds: tuple[str, ...], began: float, seconds: float, told: Any
) -> None:
    """All these attacks at once, in a process of their own that leaves the core to the polite
    clients where both want it.
    """
    pin(0, 0)
    if hasattr(os, "nice"):
        os.nice(10)
    attacks = {kind: Attack(server, began + seconds) for kind in kinds}
    time.sleep(max(began - time.monotonic(), 0.0))

    async def run() -> None:
        await asyncio.gather(*(getattr(one, kind)() for kind, one in attacks.items()))

    asyncio.run(run())
    told.put({kind: dict(one.answers.most_common()) for kind, one in attacks.items()})


ATTACKS = (
    "malformed",
    "poisoned",
    "oversized",
    "forged",
    "sudden_death",
    "slow_readers",
    "floods",
    "silent",
    "bodies",
    "paths",
    "uploads",
)


async def well(server: Address) -> bool:
    """Whether it says so.

    By hand: making an HTTP client takes longer than the answer, in the program that measures.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return b" 200 " in answer and b'"ok":true' in answer


async def newcomer(server: Address, seconds: float) -> tuple[float, int, int]:
    """(longest wait in s, times that there was no answer, tries) of clients that come one after the
    other.
    """
    until, longest, none, tries = time.monotonic() + seconds, 0.0, 0, 0
    await asyncio.sleep(2.0)
    while time.monotonic() < until:
        began = time.monotonic()
        tries += 1
        try:
            none += not await asyncio.wait_for(well(server), SLOWEST)
        except (OSError, asyncio.TimeoutError):
            none += 1
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.5)
    return longest, none, tries


async def round_of(
    server: Server, kinds: tuple[str, ...], sound: np.ndarray, sessions: int, seconds: float
) -> dict[str, Any]:
    """Polite clients beside these attacks."""
    spawning = multiprocessing.get_context("spawn")
    told = spawning.Queue()
    began = time.monotonic() + (
        6.0 if kinds else EARLIER
    )  # the attackers' program needs a while to start
    hostile = spawning.Process(
        target=attack, args=(server.address, kinds, began, seconds, told), daemon=True
    )
    if kinds:
        hostile.start()
    await asyncio.sleep(began - EARLIER - time.monotonic())
    peak = [server.memory()]

    async def watch() -> None:
        while True:
            peak.append(server.memory())
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    polite = [
        client(server.address.live, sound, 0.04 * i / sessions, seconds + EARLIER, token=TOKEN)
        for i in range(sessions)
    ]
    results, (longest, none, tries) = await asyncio.gather(
        asyncio.gather(*polite), newcomer(server.address, seconds)
    )
    answers = (
        await asyncio.to_thread(told.get, True, REPORTED) if kinds else {}
    )  # queue.Empty if the attackers' program failed
    if kinds:
        await asyncio.to_thread(hostile.join)
    watching.cancel()
    times = np.array([x for latencies, _ in results for x in latencies])
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    return {
        "name": "all at once"
        if len(kinds) > 1
        else kinds[0].replace("_", " ")
        if kinds
        else "peace",
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "worst": times.max(),
        "late": float((times > 40).mean()),
        "missing": sum(missing for _, missing in results),
        "newcomer": longest,
        "unanswered": none,
        "tries": tries,
        "server_mb": max(server for server, _ in peak),
        "worker_mb": max(worker for _, worker in peak),
        "answers": answers,
    }


async def measure(
    sessions: int, seconds: float, kinds: list[str], model: str
) -> list[dict[str, Any]]:
    sound = Speech.load(DEMO).samples
    rounds: list[tuple[str, ...]] = [
        (),
        *((kind,) for kind in kinds),
        *([tuple(kinds)] if len(kinds) > 1 else []),
        (),
    ]
    rows: list[dict[str, Any]] = []
    print(
        f"{'':14} {'P50 ms':>7} {'P95':>7} {'P99':>7} {'x peace':>7} {'worst':>7} {'late':>7} "
        f"{'missing':>7} "
        f"{'new client s':>12} {'unanswered':>10} {'server MB':>9} {'worker':>7}"
    )
    with tempfile.TemporaryDirectory() as folder:
        silence = Path(folder) / "silence.flac"
        if "uploads" in kinds:
            make_silence(silence)
        server = Server(Path(folder) / "jobs", silence, model)
        for kinds_now in rounds:
            row = await round_of(server, kinds_now, sound, sessions, seconds)
            rows.append(row)
            print(
                f"{row['name']:14} {row['p50']:7.2f} {row['p95']:7.2f} {row['p99']:7.2f} "
                f"{row['p99'] / rows[0]['p99']:7.1f} "
                f"{row['worst']:7.1f} {row['late']:7.2%} {row['missing']:7d} "
                f"{row['newcomer']:12.2f} "
                f"{row['unanswered']:4d} of {row['tries']:<3d} {row['server_mb']:8.0f} "
                f"{row['worker_mb']:7.0f}",
                flush=True,
            )
            await asyncio.sleep(2.0)
        for row in rows:
            for kind, answers in row["answers"].items() if row["name"] != "all at once" else ():
                print(
                    f"{kind.replace('_', ' ')}: "
                    + ", ".join(f"{answer} {count}" for answer, count in answers.items())
                )
        status, lines = await server.end()
        ending = "in good order" if status in (0, -signal.SIGTERM) else f"with status {status}"
        print(f"told to end, the server ended {ending}; its log has {lines} lines")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=20, help="polite clients")
    parser.add_argument("--model", default="light", help="weights file, or: base, light")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--attacks", nargs="*", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--json", type=Path, default=Path("out/live_hostile.json"))
    options = parser.parse_args()
    pin(0, 0)
    rows = asyncio.run(measure(options.sessions, options.seconds, options.attacks, options.model))
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
