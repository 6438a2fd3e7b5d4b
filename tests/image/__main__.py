"""`python -m tests.image`: builds the image, runs compose.yaml, and prints figures for docs/benchmarks.md."""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.image import debian, inspected
from tests.image.composed import Stack, read
from tests.image.engine import Engine, Problem, install
from tests.image.journey import NewNode, Person, Proxy, see_receipt

BASE_DIR = Path(__file__).parents[2]
HOST = "console.test"
DEMO = "docker.io/library/jatevo-console-demo:latest"
AWAY_SECONDS = 60.0
DEMO_SECONDS = 300.0
METRICS_SECONDS = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make image-test", description=__doc__)
    parser.add_argument(
        "--home",
        type=Path,
        help="a folder for what is built, kept for a next run; without it, nothing is kept",
    )
    options = parser.parse_args()
    try:
        install()
        log = BASE_DIR / "build" / "image.log"
        log.parent.mkdir(exist_ok=True)
        with ExitStack() as running:
            if options.home is None:
                home = Path(tempfile.mkdtemp(prefix="jatevo-image-", dir="/var/tmp"))
                running.callback(shutil.rmtree, home, ignore_errors=True)
            else:
                home = options.home.resolve()
                home.mkdir(parents=True, exist_ok=True)
            engine = Engine(home, log)
            if options.home is None:
                running.callback(engine.remove_images)
            engine.remove_containers()  # of a run that was killed
            running.callback(engine.remove_containers)
            run(engine, home)
    except Problem as problem:
        sys.stderr.write(f"\n{problem}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(engine: Engine, home: Path) -> None:
    """The whole story. Raises Problem."""
    project = home / "project"
    shutil.rmtree(project, ignore_errors=True)
    _copy_repository(project)
    subprocess.run(["sh", "deploy/bin/secrets.sh", HOST], cwd=project, check=True, stdout=subprocess.DEVNULL)
    http, https = _free_port(), _free_port()
    env = {"HTTP_PORT": str(http), "HTTPS_PORT": str(https)}

    debian.add_bases(engine)
    say("Images that stand in for those of others")
    debian.add_standin(engine, "python", debian.PYTHON)
    debian.add_standin(engine, "compose", debian.COMPOSE)
    config = read(engine, project, env)
    tags = {name: config["services"][name]["image"] for name in debian.OF_SERVICE}
    for service, standin in debian.OF_SERVICE.items():
        debian.add_standin(engine, standin, tags[service])
    for service, version in debian.versions(engine, tags).items():
        say(f"  {tags[service]}: {version}")

    begun = time.monotonic()
    mounts = debian.mounts_for_builds(home)
    engine.build(project, "--target", "console", "--tag", inspected.CONSOLE, mounts=mounts)
    figures = {"seconds to build": time.monotonic() - begun}
    say("The image is built")
    inspected.check_image(engine)
    figures["MB of the image"] = engine.inspect(inspected.CONSOLE)["Size"] / 1e6
    base = engine.inspect(debian.PYTHON)["Size"] / 1e6
    figures["MB of it above Python's image"] = figures["MB of the image"] - base

    stack = Stack(engine, config)
    begun = time.monotonic()
    stack.start(lambda name: say(f"  {name} after {time.monotonic() - begun:.1f} s"))
    stack.wait_until_healthy()
    figures["seconds to healthy"] = time.monotonic() - begun
    for line in inspected.check_containers(engine, stack):
        say(f"  {line}")

    made = engine.run(
        "exec", "web", "python", "manage.py", "create_user",
        "--email", "ada@console.test", "--role", "operator", "--org", "Image test",
    ).stdout.split()  # fmt: skip
    token = engine.run("exec", "web", "python", "manage.py", "create_validator", "validator-1").stdout
    if not token.startswith("whsec_"):
        raise Problem(f"No validator was made: {token}")
    proxy = Proxy(HOST, https, project / "secrets" / "tls_certificate")
    begun = time.monotonic()
    person = Person(proxy, *made)
    node = NewNode(proxy, person)
    _must_take(node)
    see_receipt(proxy, person, node.post_receipt())
    figures["seconds from signing in to the receipt shown"] = time.monotonic() - begun
    _check_routes(engine, stack, proxy, node)

    say("The demo fleet")
    engine.build(project, "--target", "demo", "--tag", DEMO, mounts=mounts)
    begun = time.monotonic()
    stack.start_one("demo")
    _see_the_demo(engine, proxy)
    figures["seconds until the demo's first receipt is shown"] = time.monotonic() - begun
    say("Prometheus")
    stack.start_one("prometheus")
    _see_metrics(engine)
    inspected.check_containers(engine, stack)
    print_figures(figures)


def _must_take(node: NewNode) -> None:
    answer = node.beat()
    if answer.status_code != 200:
        raise Problem(f"The heartbeat was answered {answer.status_code}: {answer.text}")


def _check_routes(engine: Engine, stack: Stack, proxy: Proxy, node: NewNode) -> None:
    """Without the lane its paths are away, in the API's form, and all else works. With it they are back."""
    engine.run("stop", "lane")
    answer = node.beat()
    if answer.status_code != 503 or answer.json()["error"]["type"] != "unavailable":
        raise Problem(f"Without the lane, a heartbeat got {answer.status_code}: {answer.text}")
    proxy.expect(200, "GET", "/readyz")
    proxy.expect(200, "GET", "/docs/")
    wheel = proxy.expect(200, "GET", "/install/agent.json").json()
    say(f"  without the lane: heartbeats 503, pages 200, agent {wheel['version']} served")
    engine.run("start", "lane")
    until = time.monotonic() + AWAY_SECONDS
    while (answer := node.beat()).status_code != 200:
        if time.monotonic() > until:
            raise Problem(f"The lane is back, but a heartbeat gets {answer.status_code}: {answer.text}")
        time.sleep(0.5)


def _see_the_demo(engine: Engine, proxy: Proxy) -> None:
    """Signs in as the demo's operator and waits for a receipt of the demo's nodes."""
    until = time.monotonic() + DEMO_SECONDS
    person: Person | None = None
    while time.monotonic() < until:
        time.sleep(1.0)
        if person is None:
            # It says so after it has made the logins.
            if "The demo fleet works" in engine.run("logs", "demo").stdout:
                kept = engine.run("exec", "demo", "cat", "/var/lib/jatevo/credentials.json").stdout
                login = json.loads(kept)["operator"]
                person = Person(proxy, login["email"], login["password"])
            continue
        found = proxy.expect(200, "GET", "/v1/receipts?limit=1", Authorization=person.bearer).json()
        if found["results"]:
            say(f"  {found['results'][0]['node_id']} has a receipt")
            return
    raise Problem(
        "The demo's nodes have posted no receipt.\n" + engine.run("logs", "--tail", "40", "demo").stdout
    )


def _see_metrics(engine: Engine) -> None:
    """Waits until Prometheus has asked the console, and has its alerts. Raises Problem."""
    script = """
import json, sys, urllib.parse, urllib.request
def ask(path):
    with urllib.request.urlopen("http://prometheus:9090/api/v1/" + path, timeout=5) as answer:
        return json.load(answer)["data"]
values = [each["value"][1] for each in ask("query?query=" + urllib.parse.quote('up{job="jatevo"}'))["result"]]
routes = ask("query?query=" + urllib.parse.quote("count by (route) (api_http_request_duration_seconds_count)"))["result"]
print(values, len(routes), "routes", sum(len(group["rules"]) for group in ask("rules")["groups"]), "rules")
sys.exit(not (values == ["1"] and routes))
"""
    until = time.monotonic() + METRICS_SECONDS
    while (asked := engine.run("exec", "web", "python", "-c", script, check=False)).returncode:
        if time.monotonic() > until:
            raise Problem(f"Prometheus has no metrics: {asked.stdout}{asked.stderr}")
        time.sleep(1.0)
    say(f"  up: {asked.stdout.strip()}")


def _copy_repository(project: Path) -> None:
    listed = subprocess.run(
        ["git", "-C", str(BASE_DIR), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source, target = BASE_DIR / name, project / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(line: str) -> None:
    print(line, flush=True)


def print_figures(figures: dict[str, float]) -> None:
    say("\n| figure | value |\n| --- | ---: |")
    for name, value in figures.items():
        say(f"| {name} | {value:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
