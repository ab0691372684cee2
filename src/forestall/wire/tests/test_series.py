"""Series names: one series has one name, and one name is one series."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.wire.series import parse_series, series_name

words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
metrics = st.lists(words, min_size=1, max_size=3).map(".".join)
values = st.text(st.characters(codec="utf-8"), max_size=12) | st.text(r"\,={}n" + "\n", max_size=12)


@given(metrics, st.dictionaries(words, values, max_size=4))
def test_every_name_reads_back_as_what_it_was_made_of(metric, labels):
    name = series_name(metric, **labels)
    assert parse_series(name) == (metric, labels)
    assert "\n" not in name


@given(metrics, st.dictionaries(words, values, max_size=3), metrics, st.dictionaries(words, values, max_size=3))
def test_two_series_never_share_a_name(metric, labels, other_metric, other_labels):
    same = (metric, labels) == (other_metric, other_labels)
    assert (series_name(metric, **labels) == series_name(other_metric, **other_labels)) is same


@given(st.text(max_size=30) | st.from_regex(r"[a-z.]{1,6}\{[a-z=,\\}{x]{0,12}\}?", fullmatch=True))
def test_whatever_parses_is_written_the_one_way_it_can_be(text):
    try:
        metric, labels = parse_series(text)
    except ValueError:
        return
    assert series_name(metric, **labels) == text


def test_names_look_as_documented():
    assert series_name("cpu.used_percent") == "cpu.used_percent"
    assert series_name("disk.used_percent", volume="/") == "disk.used_percent{volume=/}"
    assert series_name("load.1m") == "load.1m"
    assert series_name("a.b", z="1", c="x,y={}") == r"a.b{c=x\,y\=\{\},z=1}"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "Disk",
        "disk.",
        "disk{",
        "disk{}",
        "disk{a}",
        "disk{a=1,}",
        "disk{b=1,a=2}",
        "disk{a=1,a=2}",
        r"disk{a=\}",
        "a b",
    ],
)
def test_what_is_no_series_name_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match="series name"):
        parse_series(wrong)


def test_a_metric_or_label_that_is_no_word_is_refused():
    with pytest.raises(ValueError, match="'CPU'"):
        series_name("CPU")
    with pytest.raises(ValueError, match="'Volume'"):
        series_name("disk.used_percent", Volume="/")
