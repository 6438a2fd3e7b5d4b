"""Seven days by the hour: the meaning of a cell, which can be seen without colour."""

from datetime import UTC, datetime, timedelta

from nodes.detail.uptime_strip import HEIGHT, HOURS, HourBar, HourLevel, uptime_strip

AT = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALL = (1 << 60) - 1
LONG_AGO = AT - timedelta(days=90)


def test_the_week_is_168_cells_in_days_newest_first() -> None:
    strip = uptime_strip({}, first_minute=LONG_AGO, at=AT)
    assert sum(len(day.cells) for day in strip.days) == HOURS
    assert strip.days[0].day == AT.date()
    assert strip.days[0].cells[-1].hour == AT.replace(minute=0)
    assert strip.days[-1].cells[0].hour == AT.replace(minute=0) - (HOURS - 1) * HOUR


def test_each_level_has_its_own_shape() -> None:
    noon = AT.replace(minute=0)
    hours_up = {noon - 3 * HOUR: ALL, noon - 2 * HOUR: ALL >> 3, noon - HOUR: ALL >> 4}
    cells = uptime_strip(hours_up, first_minute=noon - 4 * HOUR, at=AT).days[0].cells[-6:]
    assert [cell.level for cell in cells] == [
        HourLevel.UNKNOWN, HourLevel.DOWN, HourLevel.FULL, HourLevel.FULL, HourLevel.PARTIAL, HourLevel.DOWN,
    ]  # fmt: skip
    heights = {cell.level: cell.height for cell in cells}
    assert heights[HourLevel.UNKNOWN] < heights[HourLevel.PARTIAL] < heights[HourLevel.FULL] == HEIGHT


def test_the_running_hour_expects_the_minutes_that_are_over_and_in() -> None:
    def running(minutes_up: int) -> HourBar:
        strip = uptime_strip({AT.replace(minute=0): (1 << minutes_up) - 1}, first_minute=LONG_AGO, at=AT)
        return strip.days[0].cells[-1]

    cell = running(28)  # the last two may still be on their way
    assert (cell.minutes_up, cell.minutes_expected, cell.level) == (28, 28, HourLevel.FULL)
    assert cell.title == "10 Mar, 12:00 UTC: up 28 of 28 minutes"
    assert running(26).level is HourLevel.PARTIAL


def test_missing_excused_minutes_have_their_own_shape_and_label() -> None:
    noon = AT.replace(minute=0)
    hours_up = {noon - 4 * HOUR: ALL, noon - 3 * HOUR: ALL >> 30, noon - 2 * HOUR: 0b11111}
    strip = uptime_strip(hours_up, first_minute=noon - 4 * HOUR, at=AT)
    half = [hour + timedelta(minutes=minute) for hour in hours_up for minute in range(30, 60)]
    before = noon - 5 * HOUR  # when nothing was expected
    marked = strip.excusing({**dict.fromkeys(half, "maintenance"), before: "incident"})
    cells = {cell.hour: cell for cell in marked.days[0].cells}
    assert [cells[noon - back * HOUR].level for back in (5, 4, 3, 2, 1)] == [
        HourLevel.UNKNOWN, HourLevel.FULL, HourLevel.EXCUSED, HourLevel.PARTIAL, HourLevel.DOWN,
    ]  # fmt: skip
    excused = cells[noon - 3 * HOUR]
    assert excused.title == "10 Mar, 09:00 UTC: up 30 of 60 minutes, 30 exempt (maintenance)"
    assert 0 < excused.y < excused.y + excused.height < HEIGHT  # no other touches neither edge
    assert cells[noon - 2 * HOUR].minutes_excused == 30  # too few for what is missing
    assert marked.days[0].share == strip.days[0].share


def test_no_share_counts_minutes_in_which_no_node_could_be_heard() -> None:
    noon = AT.replace(minute=0)
    strip = uptime_strip({noon - HOUR: ALL >> 15, noon: ALL >> 32}, first_minute=noon - HOUR, at=AT)
    outage = [noon - HOUR + timedelta(minutes=minute) for minute in range(40, 60)]
    marked = strip.excusing(dict.fromkeys(outage, "console outage"), {noon - HOUR: ALL >> 40 << 40})
    assert (strip.days[0].minutes_up, strip.days[0].minutes_expected) == (73, 88)
    # five of the twenty were heard: they count as up, and no more than they are
    assert (marked.days[0].minutes_up, marked.days[0].minutes_expected) == (73, 73)
    maintenance = strip.excusing(dict.fromkeys(outage, "maintenance"))
    assert maintenance.days[0].share == strip.days[0].share


def test_an_hour_in_which_the_node_first_came_counts_from_then() -> None:
    first = AT.replace(minute=0) - 2 * HOUR + timedelta(minutes=40)
    strip = uptime_strip({first.replace(minute=0): ALL >> 40 << 40}, first_minute=first, at=AT)
    cell = next(cell for cell in strip.days[0].cells if cell.hour == first.replace(minute=0))
    assert (cell.minutes_expected, cell.level) == (20, HourLevel.FULL)
    assert strip.days[1].share is None


def test_a_day_is_the_sum_of_its_hours() -> None:
    day = uptime_strip({AT.replace(minute=0): ALL >> 46}, first_minute=AT.replace(minute=0), at=AT).days[0]
    assert (day.minutes_up, day.minutes_expected, day.share) == (14, 28, 0.5)
