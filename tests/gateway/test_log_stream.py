"""Log lines into a full disk, a stuck pipe, a closed stderr: dropped, counted, never waited for."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from bargein.gateway.log_stream import LogStream


def dropped() -> float:
    return REGISTRY.get_sample_value("bargein_log_lines_dropped_total") or 0.0


@contextmanager
def pipe() -> Generator[tuple[int, int]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def test_lines_arrive_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    before = dropped()
    with path.open("w") as file:
        stream = LogStream.on(file)
        assert [stream.write(f"line {number} ä\n") for number in range(3)] == [9] * 3
        stream.write("x" * 100_000 + "\n")
        stream.write("a lone surrogate \ud800\n")
        stream.flush()
        assert not stream.isatty()
    expected = ["line 0 ä", "line 1 ä", "line 2 ä", "x" * 100_000, "a lone surrogate \\ud800"]
    assert path.read_text(encoding="utf-8").splitlines() == expected
    assert dropped() == before


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    before = dropped()
    with Path("/dev/full").open("w") as full:
        stream = LogStream.on(full)
        for _ in range(5):
            stream.write("nobody will read this\n")
    assert dropped() == before + 5


@pytest.mark.parametrize("stream", [LogStream.on(None), LogStream(999_999)])
def test_a_closed_stderr_costs_lines_and_nothing_else(stream: LogStream) -> None:
    before = dropped()
    stream.write("nobody will read this\n")
    assert dropped() == before + 1
    assert not stream.isatty()


def test_a_pipe_without_a_reader_costs_lines_and_nothing_else() -> None:
    before = dropped()
    reader, writer = os.pipe()
    os.close(reader)
    LogStream(writer).write("nobody will read this\n")
    os.close(writer)
    assert dropped() == before + 1


def test_a_pipe_that_nobody_reads_is_not_waited_for_and_lines_stay_whole() -> None:
    before = dropped()
    with pipe() as (reader, writer):
        stream = LogStream(writer)
        for number in range(10):
            stream.write(f"{number}" * 1999 + "\n")
        assert dropped() > before  # it returned, although the pipe holds two of them
        read = os.read(reader, 65536)
        stream.write("and again\n")
        read += os.read(reader, 65536)
        lines = read.decode().splitlines()
        assert lines[-1] == "and again"
        assert [line[0] * 1999 for line in lines[:-1]] == lines[:-1]
        assert len(lines) - 1 + dropped() - before == 10


def test_a_line_that_was_begun_is_finished_first() -> None:
    with pipe() as (reader, writer):
        stream = LogStream(writer)
        stream.write("a" * 10_000 + "\n")  # of which the pipe takes 4,096 bytes
        stream.write("lost\n")
        read = b""
        while not read.endswith(b"next\n"):
            stream.write("next\n")
            read += os.read(reader, 65536)
        assert read.splitlines()[0] == b"a" * 10_000
        assert b"lost" not in read
