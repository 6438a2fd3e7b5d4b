import re
from pathlib import Path

BASE_DIR = Path(__file__).parents[2]
READ_IN_SETTINGS = re.compile(r"""(?:env\.\w+|secret)\(\s*["']([A-Z][A-Z0-9_]+)["']""")
# A store's password has a variable of its own (jatevo/environment.py).
STORES = re.compile(r"""env\.store_urls?\(\s*["']([A-Z_]+)_URL["']""")
READ_IN_COMPOSE = re.compile(r"\$\{([A-Z][A-Z0-9_]+)")
READ_IN_LOCAL = re.compile(r"""environ\.get\(["']([A-Z][A-Z0-9_]+)["']""")


def test_example_lists_every_variable_that_is_read_and_no_other() -> None:
    settings = (BASE_DIR / "jatevo" / "settings.py").read_text()
    read = set(READ_IN_SETTINGS.findall(settings))
    read |= {f"{store}_PASSWORD" for store in STORES.findall(settings)}
    for source in (BASE_DIR / "jatevo" / "local").glob("*.py"):
        read |= set(READ_IN_LOCAL.findall(source.read_text()))
    read |= set(READ_IN_COMPOSE.findall((BASE_DIR / "compose.yaml").read_text()))
    read.discard("PATH")
    listed = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (BASE_DIR / ".env.example").read_text(), re.MULTILINE)
    assert len(read) > 20
    assert sorted(listed) == sorted(read)
