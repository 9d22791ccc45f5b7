"""Plain HTTP by hand: a path is asked for as it stands, and nothing of the answer is smoothed."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from tests.gateway.raw_client import ask, status


@frozen
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


async def get(port: int, path: str, *lines: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for a path, with further *lines* in the head; a header's name has _ where it has -."""
    fields = {"Host": f"127.0.0.1:{port}", **{n.replace("_", "-"): v for n, v in headers.items()}}
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    raw = await ask(port, "\r\n".join([*head, *lines, "", ""]).encode())
    said, _, body = raw.partition(b"\r\n\r\n")
    parts = [line.partition(": ") for line in said.decode("ascii").split("\r\n")[1:]]
    found = {name.lower(): value for name, _, value in parts}
    assert len(found) == len(parts), "no header twice"
    return Answer(status(raw), found, body)
