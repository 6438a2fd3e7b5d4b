"""What must hold of the image and of the containers that run."""

from pathlib import Path

from tests.image.composed import Stack
from tests.image.engine import Engine, Problem

CONSOLE = "docker.io/library/jatevo-console:latest"
CONSOLE_SERVICES = ("web", "lane", "worker")
TOOLS = (
    "gcc",
    "g++",
    "cc",
    "c++",
    "clang",
    "ld",
    "as",
    "make",
    "cmake",
    "rustc",
    "cargo",
    "go",
    "pip",
    "pip3",
    "uv",
)
MODULES = ("pip", "setuptools", "uv", "pytest", "mypy", "chdb")


def check_image(engine: Engine) -> None:
    """No compiler, no installer, nothing of the tests and the repository. Raises Problem."""
    script = f"""
for tool in {" ".join(TOOLS)}; do command -v "$tool" && exit 1; done
for module in {" ".join(MODULES)}; do python -c "import $module" 2>/dev/null && echo "$module" && exit 1; done
for path in .git .env secrets tests deploy .venv; do [ -e "/app/$path" ] && echo "$path" && exit 1; done
find / -xdev -perm /6000 -type f -user 10001
exit 0
"""
    found = engine.run("run", "--rm", "--network", "none", CONSOLE, "sh", "-c", script, check=False)
    if found.returncode or found.stdout.strip():
        raise Problem(f"The image contains what it should not: {found.stdout}{found.stderr}")


def check_containers(engine: Engine, stack: Stack) -> list[str]:
    """Console and proxy run without root, capabilities and a way to write or to gain anything. Raises Problem.

    Returns a line for each container.
    """
    lines = []
    for name in stack.running():
        state = engine.inspect(name)
        read_only = state["HostConfig"]["ReadonlyRootfs"]
        status = _status(state["State"]["Pid"])
        uids, capabilities = set(status["Uid"].split()), int(status["CapEff"], 16)
        privileges = "none to gain" if status["NoNewPrivs"] == "1" else "can be gained"
        lines.append(
            f"{name}: user {'/'.join(sorted(uids))}, {'read-only' if read_only else 'writable'} root, "
            f"{capabilities.bit_count()} capabilities, privileges {privileges}"
        )
        if "0" in uids or status["NoNewPrivs"] != "1":
            raise Problem(f"A container runs with too many rights. {lines[-1]}")
        if name == "clickhouse":
            continue  # its image writes its settings when it starts
        if not read_only or capabilities:
            raise Problem(f"A container may do too much. {lines[-1]}")
    for name in CONSOLE_SERVICES:
        written = engine.run(
            "exec", name, "sh", "-c", "touch /app/written || touch /opt/venv/written", check=False
        )
        if written.returncode == 0 or "Read-only" not in written.stderr:
            raise Problem(f"{name} can write to its own code: {written.stderr}")
    return lines


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
