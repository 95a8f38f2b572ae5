"""Latency of the live server: from the last sound that a frame needs to the frame in the client's
hands, on one core.

    python benchmarks/speed/live_latency.py [--sessions 1 5 20 40] [--seconds 30] [--cores 1]
    [--json out/live_latency.json] python benchmarks/speed/live_latency.py --batch-window 0 0.1 0.2
    0.4 [--rounds 3] ...

A server process bound to one core, clients in this process on another (--cores 2: both wherever the
system puts them): each sends the demo clip again and again in packets of 20 ms at their time,
clients at odd moments to each other. Latency counts from the sending of the packet that holds the
last sample that the frame's look-ahead needs, so it has the network, the queue, the batch, the
message and both ends of the socket in it; the look-ahead itself comes on top. "late" is the share
of frames over 40 ms (one frame). The alternative in the same run: the same server without batches,
every session alone. "server" is the share of a core that the server used.

--batch-window compares values, in ms for each open session, of how long a batch waits for more
(``Engine``'s ``batch_window``) instead: a server for each, measured in turns, --rounds times over
in changing order, so that other work on the machine falls on all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import jambatalk
from jambatalk.atomic import write_json
from jambatalk.audio import Speech
from jambatalk.client import LiveClient, TurnEnd
from jambatalk.server.engine import BATCH_WINDOW, MAX_BATCH

PACKET = 320  # samples at 16 kHz: 20 ms
DEMO = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
SERVER = """
import sys, torch
torch.set_num_threads(1)
from jambatalk.cli.animate import TalkerOptions, load_warm
from jambatalk.server.run import run
from jambatalk.server.settings import ServerSettings
from jambatalk.study.server import listen
talker = load_warm(TalkerOptions())
with listen("127.0.0.1", 0) as listening:
    print(listening.getsockname()[1], flush=True)
    settings, batch = ServerSettings(max_sessions=1000), int(sys.argv[1])
    run(talker, settings, listening, max_batch=batch, batch_window=float(sys.argv[2]))
"""


def pin(process: int, core: int) -> None:
    """Bind a process to a core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process, {cores[core % len(cores)]})


async def client(
    url: str, sound: np.ndarray, offset: float, seconds: float, **start: Any
) -> tuple[list[float], int]:
    """(latency of each frame in ms, frames that never came) of one real-time session; start: of
    ``LiveClient``.
    """
    count = int(seconds * 16000 / PACKET)
    sent = np.full(count, np.nan)
    latencies: list[float] = []
    async with LiveClient(url, **start) as live:
        need = round(live.look_ahead_ms * 16)

        async def send() -> None:
            began = time.perf_counter() + offset
            for k in range(count):
                await asyncio.sleep(
                    max(began + (k + 1) * PACKET / 16000 - time.perf_counter(), 0.0)
                )
                at = k * PACKET % (len(sound) - PACKET)
                sent[k] = time.perf_counter()
                await live.send(sound[at : at + PACKET])
            await live.end()

        sending = asyncio.create_task(send())
        owed = -(-count * PACKET // 640)
        frames = 0
        async for frame in live:
            now = time.perf_counter()
            if isinstance(frame, TurnEnd):
                break
            frames += 1
            packet = (frame.index * 640 + need - 1) // PACKET
            if frame.index >= 25 and packet < count:  # the first second warms caches up
                latencies.append(1000 * (now - sent[packet]))
        await sending
    return latencies, owed - frames


async def clients(
    url: str, sound: np.ndarray, sessions: int, seconds: float
) -> tuple[np.ndarray, int]:
    """All sessions at once, spread over a frame's 40 ms."""
    results = await asyncio.gather(
        *(client(url, sound, 0.2 + 0.04 * i / sessions, seconds) for i in range(sessions))
    )
    return np.array([x for latencies, _ in results for x in latencies]), sum(
        missing for _, missing in results
    )


def processor_seconds(process: int) -> float:
    """Seconds of processor time that a process has used (Linux; elsewhere 0)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


class Server:
    """A server process, on the second core where it has but one."""

    def __init__(
        self, name: str, cores: int, max_batch: int = MAX_BATCH, batch_window: float = BATCH_WINDOW
    ) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(max_batch), str(batch_window)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = f"ws://127.0.0.1:{int(self.process.stdout.readline())}/v1/stream"
        if cores == 1:
            pin(self.process.pid, 1)
        time.sleep(1.0)
        self.rows: dict[
            int, list[tuple[np.ndarray, int, float]]
        ] = {}  # sessions -> (latencies, missing, share) of each round

    def measure(self, sound: np.ndarray, sessions: int, seconds: float) -> None:
        """One round."""
        used, began = processor_seconds(self.process.pid), time.perf_counter()
        times, missing = asyncio.run(clients(self.url, sound, sessions, seconds))
        share = (processor_seconds(self.process.pid) - used) / (time.perf_counter() - began)
        self.rows.setdefault(sessions, []).append((times, missing, share))

    def row(self, sessions: int) -> dict[str, Any]:
        """All rounds together."""
        times = np.concatenate([times for times, _, _ in self.rows[sessions]])
        p50, p95, p99 = np.percentile(times, [50, 95, 99])
        return {
            "name": self.name,
            "sessions": sessions,
            "p50": p50,
            "p95": p95,
            "p99": p99,
            "worst": times.max(),
            "late": float((times > 40.0).mean()),
            "missing": sum(missing for _, missing, _ in self.rows[sessions]),
            "server": float(np.mean([share for _, _, share in self.rows[sessions]])),
        }

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


HEADER = f"{'':22} {'sessions':>8} {'P50 ms':>7} " + " ".join(
    f"{name:>7}" for name in ("P95", "P99", "worst", "late", "missing", "server")
)


def line(row: dict[str, Any]) -> str:
    """As the table has it."""
    return (
        f"{row['name']:22} {row['sessions']:8d} {row['p50']:7.2f} {row['p95']:7.2f} "
        f"{row['p99']:7.2f} {row['worst']:7.1f} "
        f"{row['late']:7.2%} {row['missing']:7d} {row['server']:7.0%}"
    )


def with_and_without_batches(
    sound: np.ndarray, sessions: list[int], seconds: float, cores: int
) -> list[dict[str, Any]]:
    """One server after the other."""
    rows = []
    print(HEADER)
    for name, max_batch in (("in batches", MAX_BATCH), ("every session alone", 1)):
        server = Server(name, cores, max_batch)
        try:
            for count in sessions:
                server.measure(sound, count, seconds)
                rows.append(server.row(count))
                print(line(rows[-1]), flush=True)
        finally:
            server.end()
    alone = {row["sessions"]: row["p99"] for row in rows if row["name"] != "in batches"}
    for row in rows:
        if row["name"] == "in batches":
            times = alone[row["sessions"]] / row["p99"]
            print(
                f"{row['sessions']} sessions: P99 without batches is {times:.1f} x that with them"
            )
    return rows


def waits(
    sound: np.ndarray,
    sessions: list[int],
    seconds: float,
    cores: int,
    windows: list[float],
    rounds: int,
) -> list[dict[str, Any]]:
    """A server for each wait, all at once, measured in turns."""
    servers: list[Server] = []
    try:
        for batch_window in windows:
            servers.append(
                Server(f"batch_window {batch_window:g} ms", cores, batch_window=batch_window / 1000)
            )
        for k in range(rounds):
            for count in sessions:
                for i in range(len(servers)):
                    servers[(i + k) % len(servers)].measure(sound, count, seconds)
    finally:
        for server in servers:
            server.end()
    rows = [server.row(count) for count in sessions for server in servers]
    print("\n".join([HEADER, *map(line, rows)]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, nargs="*", default=[1, 5, 20, 40])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--cores", type=int, choices=(1, 2), default=1)
    parser.add_argument("--batch-window", type=float, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("out/live_latency.json"))
    options = parser.parse_args()
    sound = Speech.load(DEMO).samples
    if options.cores == 1:
        pin(0, 0)
    if options.batch_window:
        rows = waits(
            sound,
            options.sessions,
            options.seconds,
            options.cores,
            options.batch_window,
            options.rounds,
        )
    else:
        rows = with_and_without_batches(sound, options.sessions, options.seconds, options.cores)
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
