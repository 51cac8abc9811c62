"""The waterfall of a trace shows every span once, below what caused it, at its place in time."""

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.cli.trace import Span, bar, duration, rows, waterfall

MS = 1_000_000
SAVED = Span(span="a", service="hotline_intake", name="POST screenings", start=0, end=12 * MS)
HEARD = Span(span="b", parent="a", service="dispatch", name="process RiskAssessed", start=8 * MS, end=10 * MS)
SENT = Span(
    span="c", parent="b", service="responder_adapter", name="POST 110", start=9 * MS, end=40 * MS, error="timeout"
)


def drawn(*spans: Span) -> list[str]:
    console = Console(width=140, record=True, color_system=None)
    with console.capture() as captured:
        console.print(waterfall(spans))
    return captured.get().splitlines()


def test_a_span_stands_below_what_caused_it_indented_and_at_its_time() -> None:
    title, _, saved, heard, sent = drawn(SENT, HEARD, SAVED)
    assert title.startswith("3 spans · 40.0 ms")
    assert [saved.split()[0], heard.split()[0], sent.split()[0]] == ["hotline_intake", "dispatch", "responder_adapter"]
    assert "+8.0 ms" in heard
    assert saved.index("POST") < heard.index("process") < sent.index("POST")
    assert saved.index("━") < heard.index("━") < sent.index("━")


def test_a_failed_span_says_how() -> None:
    assert "✗ timeout" in drawn(SAVED, HEARD, SENT)[-1]


def test_a_span_whose_parent_never_came_stands_as_a_root() -> None:
    assert [(row.span.span, row.depth) for row in rows([HEARD, SENT])] == [("b", 0), ("c", 1)]


def test_an_empty_trace_is_an_empty_table() -> None:
    assert drawn()[0].startswith("0 spans")


def test_durations_are_said_as_a_person_reads_them() -> None:
    said = [duration(n) for n in (850_000, 12_300_000, 4_210_000_000, 185_000_000_000)]
    assert said == ["850 µs", "12.3 ms", "4.21 s", "3 min 05 s"]


def test_a_collector_that_is_not_there_is_said_in_a_sentence() -> None:
    said = CliRunner().invoke(app, ["trace", str(uuid4()), "--collector", "http://127.0.0.1:1"])
    assert said.exit_code == 1
    assert "No collector answers" in said.output


spans = st.builds(
    lambda span, parent, start, took: Span(
        span=span, parent=parent, service="s", name="n", start=start, end=start + took
    ),
    st.sampled_from("abcdef"),
    st.sampled_from(["", *"abcdefg"]),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
)


@given(st.lists(spans, unique_by=lambda span: span.span))
def test_every_span_is_shown_once_whatever_the_parents(trace: list[Span]) -> None:
    assert sorted(row.span.span for row in rows(trace)) == sorted(span.span for span in trace)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_bar_is_never_empty_and_stays_in_its_column(start: int, took: int, total: int) -> None:
    start, end = min(start, total), min(start + took, total)
    drawn_bar = bar(start, end, total)
    assert "━" in drawn_bar
    assert len(drawn_bar) <= 40
