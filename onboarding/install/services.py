"""The service files for launchd and systemd, as templates: @DIR@ is the agent's folder, @USER@ its user."""

from pathlib import Path

_FOLDER = Path(__file__).with_name("services")
SERVICES = {path.name: path for path in sorted(_FOLDER.iterdir())}


def service_template(name: str) -> str:
    """The template's text. Raises KeyError for a name that is not there."""
    return SERVICES[name].read_text(encoding="utf-8")


def filled_in(name: str, *, folder: str, user: str = "", home: str = "") -> str:
    """The service file for one machine. A folder must not contain quotes, `&`, `<`, `%` or a backslash."""
    text = service_template(name)
    return text.replace("@DIR@", folder).replace("@USER@", user).replace("@HOME@", home)
