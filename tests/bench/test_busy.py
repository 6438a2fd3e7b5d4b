"""A profile of PostgreSQL by statement."""

from bench.busy import Busy, statement_of


class Seen:
    """A database in which these statements are at work, one list a look."""

    def __init__(self, *looks: list[tuple[str, str]]) -> None:
        self.looks = list(looks)

    def execute(self, _: str) -> "Seen":
        return self

    def fetchall(self) -> list[tuple[str, str]]:
        return self.looks.pop(0)


def test_statement_is_told_without_its_values() -> None:
    one = statement_of("SELECT *\n  -- all of it\n FROM nodes WHERE id = 'it''s' AND n > 12.5 AND m = $1")
    assert one == "SELECT * FROM nodes WHERE id = … AND n > … AND m = …"


def test_statements_are_counted_by_how_many_are_at_work_at_a_time() -> None:
    busy = Busy()
    seen = Seen([("SELECT 1", "CPU"), ("SELECT 2", "IO")], [("COMMIT", "IO")], [], [("SELECT 3", "CPU")])
    for _ in range(4):
        busy.look(seen)  # type: ignore[arg-type]
    assert busy.most(2) == [("SELECT …", 0.75, 0.5), ("COMMIT", 0.25, 0.0)]
