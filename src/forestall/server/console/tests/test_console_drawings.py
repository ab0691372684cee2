"""Drawings and words, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.checks.result import Status
from forestall.server.console import parts, svg, words
from forestall.server.console.samples import charts_of, span_of

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=400)
values = st.lists(st.none() | st.floats(-1e12, 1e12), min_size=2, max_size=60)


@given(values=values, low=st.booleans())
def test_any_series_draws_a_well_formed_chart_without_inline_style(values, low):
    times = [1_700_000_000.0 + 60 * i for i in range(len(values))]
    drawn = svg.chart(
        times=times, lines=[svg.Line("x", values, values if low else None, values if low else None)], unit="B",
        start=times[0], end=times[-1], zone="Europe/Berlin", label='a "quoted" <label>',
        thresholds=[svg.Threshold(90, "fail <90>", "fail")], windows=[svg.Span(times[0] - 60, times[0] + 60)],
    )  # fmt: skip
    ElementTree.fromstring(drawn)  # noqa: S314 - our own drawing
    assert "style=" not in drawn
    assert "nan" not in drawn


@given(values=values)
def test_a_sparkline_has_as_many_runs_as_there_are_stretches_with_values(values):
    drawn = svg.sparkline(values)
    known = [value for value in values if value is not None]
    if len(known) < 2:
        assert drawn == ""
        return
    runs = sum(1 for i, v in enumerate(values) if v is not None and (i == 0 or values[i - 1] is None))
    assert drawn.count("<path") == runs


def test_a_gap_is_not_bridged():
    drawn = svg.chart(
        times=[0, 60, 120, 180], lines=[svg.Line("x", [1, None, 2, 3])], unit="", start=0, end=180, zone="UTC"
    )
    assert drawn.count('class="svg-line') == 2


def test_time_ticks_speak_the_sites_time():
    noon_in_tokyo = datetime(2026, 11, 23, 3, 0, tzinfo=UTC).timestamp()
    ticks = svg.time_ticks(noon_in_tokyo - 7200, noon_in_tokyo, "Asia/Tokyo")
    assert "12:00" in [word for _, word in ticks]


@given(seconds=st.integers(0, 10**9))
def test_spans_are_short_and_never_empty(seconds):
    said = words.span_short(timedelta(seconds=seconds))
    assert 3 <= len(said) <= 12
    assert words.span_long(timedelta(seconds=seconds))


def test_words_count_properly():
    assert words.plural(1, "device") == "1 device"
    assert words.plural(1200, "device") == "1,200 devices"
    assert words.does(1, "have") == "has"
    assert words.does(2, "have") == "have"
    assert words.listing(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert words.listing(["a", "b"]) == "a and b"


def test_each_status_is_shape_word_and_colour():
    for status in Status:
        drawn = parts.status(status)
        assert f"status-{status}" in drawn
        assert f">{status}<" in drawn
        assert "visually-hidden" in parts.shape(status)


def test_a_strip_shows_when_a_check_said_what():
    strip = parts.history_strip(
        [(NOW - timedelta(days=40), "pass"), (NOW - timedelta(days=3), "fail")], start=NOW - timedelta(days=30), end=NOW
    )
    ElementTree.fromstring(strip)  # noqa: S314 - our own drawing
    assert 'class="pass" x="0.0" width="270.0"' in strip
    assert 'class="fail" x="270.0" width="30.0"' in strip


def test_an_address_that_asks_for_nonsense_shows_the_last_day():

    for asked in ("range=never", "from=x&to=y", "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", ""):
        span = span_of(QueryDict(asked), NOW, since=LONG_AGO)
        assert span.end - span.start == timedelta(days=1), asked
    span = span_of(QueryDict("from=2026-11-20T00:00:00Z&to=2026-11-20T01:00:00Z"), NOW, since=LONG_AGO)
    assert span.end - span.start == timedelta(hours=1)
    assert span_of(QueryDict(span.query), NOW, since=LONG_AGO) == span


def test_a_new_device_shows_the_span_that_holds_all_there_is():
    for age, name in ((timedelta(minutes=20), "1h"), (timedelta(hours=3), "6h"), (timedelta(days=9), "24h")):
        assert span_of(QueryDict(""), NOW, since=NOW - age).name == name
    assert span_of(QueryDict("range=7d"), NOW, since=NOW).name == "7d"


def test_charts_are_made_one_for_each_volume_and_several_lines_for_one_thing():
    names = [
        "cpu.used_percent",
        "cpu.iowait_percent",
        "disk.used_percent{volume=/}",
        "disk.used_percent{volume=/srv}",
        "x.unknown",
    ]
    charts = charts_of(names)
    assert [chart.title for chart in charts] == ["Processor", "Space used of /", "Space used of /srv"]
    assert len(charts[0].series) == 2
