"""`python -m bench.guesses --url URL --pid PID`: the effect of thirty wrong logins at once on other requests.

Readers request other pages before and during two such waves. The waves are a minute apart, because one wave
uses up the limit of an address. Prints the readers' p95, the statuses of the logins, and how much the
server's processes grew.
"""

import argparse
import json
import threading
import time
from collections import Counter
from math import ceil

import httpx
import psutil

PAGES = ("/healthz", "/", "/login/", "/status/", "/v1/summary")
LOGINS = 30
WAVES = 2
READERS = 2
QUIET_SECONDS = 5.0


class Readers:
    """Request the pages in turn until stopped, and record milliseconds by page."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._ready = threading.Barrier(READERS + 1)
        self.times: dict[str, list[float]] = {page: [] for page in PAGES}
        self.statuses: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._read) for _ in range(READERS)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        self._ready.wait()  # until their connections are open too
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            client.get(PAGES[0])
            self._ready.wait()
            while not self._stop.is_set():
                for page in PAGES:
                    begun = time.perf_counter()
                    self.statuses[client.get(page).status_code] += 1
                    self.times[page].append((time.perf_counter() - begun) * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.guesses", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument(
        "--pid", type=int, required=True, help="the server's process; its children are included"
    )
    options = parser.parse_args()
    with Readers(options.url) as quiet:
        time.sleep(QUIET_SECONDS)
    before = memory_mib(options.pid)
    most, logins = before, Counter[int]()
    took: list[float] = []
    crowd = Crowd(options.url)
    times: dict[str, list[float]] = {page: [] for page in PAGES}
    for wave in range(WAVES):
        if wave:
            time.sleep(61)
        with Readers(options.url) as readers:
            statuses, spent, peak = crowd.guess(options.pid, wave)
            took += spent
            time.sleep(0.5)
        most = max(most, peak)
        logins.update(statuses)
        for page in PAGES:
            times[page] += readers.times[page]
    report = {
        "logins": {str(status): count for status, count in sorted(logins.items())},
        "p95_ms_of_the_logins": p95(took),
        "p95_ms_quiet": {page: p95(quiet.times[page]) for page in PAGES},
        "p95_ms_meanwhile": {page: p95(times[page]) for page in PAGES},
        "p95_ms_meanwhile_all": p95([each for found in times.values() for each in found]),
        "asked_meanwhile": sum(map(len, times.values())),
        "memory_mib_before": before,
        "memory_mib_most": most,
    }
    print(json.dumps(report, indent=2))


class Crowd:
    """Thirty clients with open connections, so that `guess` does not measure connecting."""

    def __init__(self, url: str) -> None:
        plain = httpx.create_ssl_context(
            verify=False, trust_env=False
        )  # one for all, because creating it is slow
        self._clients = [
            httpx.Client(base_url=url, timeout=60, trust_env=False, verify=plain) for _ in range(LOGINS)
        ]
        for client in self._clients:
            client.get("/healthz")

    def guess(self, pid: int, wave: int) -> tuple[list[int], list[float], int]:
        """Sends wrong logins at the same moment.

        Returns their statuses, their milliseconds, and the peak memory in MiB.
        """
        together, statuses, times = threading.Barrier(LOGINS), list[int](), list[float]()

        def one(number: int) -> None:
            body = {"email": f"guess{wave}-{number}@example.org", "password": "not the password"}
            together.wait()
            begun = time.perf_counter()
            statuses.append(self._clients[number].post("/v1/auth/login", json=body).status_code)
            times.append((time.perf_counter() - begun) * 1000)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(LOGINS)]
        for thread in threads:
            thread.start()
        peak = memory_mib(pid)
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, memory_mib(pid))
            time.sleep(0.02)
        return statuses, times, peak


def memory_mib(pid: int) -> int:
    """Memory in MiB of the process and its children. Shared pages count once (PSS).

    PostgreSQL's processes share their buffers, which a sum of resident sizes would count many times.
    """
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return round(sum(process.memory_full_info().pss for process in family if process.is_running()) / 2**20)


def p95(times: list[float]) -> float:
    return round(sorted(times)[ceil(0.95 * len(times)) - 1], 1)


if __name__ == "__main__":
    main()
