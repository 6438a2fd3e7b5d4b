"""What this process and its children use, by the part of the console that they are."""

from collections.abc import Callable

import psutil

PartOf = Callable[[psutil.Process, str], str]  # the part, by a child and the words of its command


class Usage(dict[str, tuple[float, float]]):
    """Seconds of CPU so far, and megabytes of memory, by part."""

    @classmethod
    def now(cls, own: str, part_of: PartOf) -> "Usage":
        """`own` is the name of this process's part."""
        me = psutil.Process()
        found = cls({own: _of(me)})
        for process in me.children(recursive=True):
            try:
                part = part_of(process, " ".join([process.name(), *process.cmdline()]))
                cpu, memory = _of(process)
            except psutil.NoSuchProcess:
                continue
            before_cpu, before_memory = found.get(part, (0.0, 0.0))
            found[part] = before_cpu + cpu, before_memory + memory
        return found

    def since(self, earlier: "Usage") -> "Usage":
        """The CPU since then, and the memory now."""
        return Usage(
            {part: (cpu - earlier.get(part, (0.0, 0.0))[0], memory) for part, (cpu, memory) in self.items()}
        )


def _of(process: psutil.Process) -> tuple[float, float]:
    times = process.cpu_times()
    return times.user + times.system, process.memory_full_info().uss / 2**20


def part_of_console(process: psutil.Process, words: str) -> str:
    """The part of a console on services that a child is, by the words of its command."""
    if "multiprocessing" in words and (parent := process.parent()):  # one of several processes
        words = " ".join(parent.cmdline())
    known = {
        "jatevo.lane": "lane", "jatevo.wsgi": "web", "manage.py worker": "worker", "postgres": "PostgreSQL",
        "valkey": "Valkey", "clickhouse": "ClickHouse",
    }  # fmt: skip
    return next((part for word, part in known.items() if word in words), "other")
