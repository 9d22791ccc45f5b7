"""Good commands, of every type there is, about things that a session may really have."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from bargein.protocol.commands import COMMANDS

WORDS: Final = ("hello", "book a table", "what is free?", "/yes", "no, wait", "ü🙂", "{user}")


def command(drawn: Random) -> dict[str, Any]:
    """Return a command that the server may take."""
    kind = drawn.choice(sorted(COMMANDS))
    body = {"type": kind} | _FIELDS.get(kind, _nothing)(drawn)
    if drawn.random() < 0.7:
        body["id"] = f"c{drawn.randint(1, 400)}"
    return body


def _nothing(_: Random) -> dict[str, Any]:
    return {}


def _turn(drawn: Random) -> str:
    return f"turn_{drawn.choice((1, 1, 2, 3, 5, 8, 13, 99))}"


def _say(drawn: Random) -> dict[str, Any]:
    body: dict[str, Any] = {"text": drawn.choice(WORDS)}
    if drawn.random() < 0.7:
        body["when_busy"] = drawn.choice(("interrupt", "queue", "steer", "reject", "rollback"))
    if drawn.random() < 0.2:
        body["heard"] = {"chars": drawn.randint(0, 50), "offset_ms": 5}
    if drawn.random() < 0.1:
        body["resume"] = "resume_turn_1"
    return body


def _interrupt(drawn: Random) -> dict[str, Any]:
    body: dict[str, Any] = {"reason": "why", "queue": drawn.choice(("keep", "drop"))}
    if drawn.random() < 0.4:
        body["turn_id"] = _turn(drawn)
    return body | {"heard": {"chars": drawn.randint(0, 9)}}


def _report(drawn: Random) -> dict[str, Any]:
    return {"turn_id": _turn(drawn), "chars": drawn.randint(0, 60), "chunk_id": "ch_1"}


def _speech(drawn: Random) -> dict[str, Any]:
    return {"utterance_id": f"u{drawn.randint(1, 3)}"}


def _transcript(drawn: Random) -> dict[str, Any]:
    revision, text = drawn.randint(0, 5), drawn.choice(WORDS)
    return _speech(drawn) | {"revision": revision, "text": text, "confidence": drawn.random()}


def _audio(drawn: Random) -> dict[str, Any]:
    return _speech(drawn) | {"index": drawn.randint(0, 9), "format": "pcm16", "data": "AAAA" * 40}


def _decision(drawn: Random) -> dict[str, Any]:
    body: dict[str, Any] = {"confirmation_id": f"conf_{drawn.randint(1, 6)}", "reason": "so"}
    return body | ({"args": {"guests": drawn.randint(1, 9)}} if drawn.random() < 0.3 else {})


_FIELDS: Final[dict[str, Callable[[Random], dict[str, Any]]]] = {
    "say": _say,
    "interrupt": _interrupt,
    "speech.start": _speech,
    "speech.stop": _speech,
    "audio.chunk": _audio,
    "asr.partial": _transcript,
    "asr.final": _transcript,
    "turn.end": _speech,
    "playback.start": _report,
    "playback.progress": _report,
    "playback.stop": _report,
    "confirm": _decision,
    "reject": _decision,
    "revert": lambda drawn: {"action_id": f"act_{drawn.randint(1, 6)}"},
    "configure": lambda drawn: {"on_disconnect": drawn.choice(("grace", "cancel", "continue"))},
    "ack": lambda drawn: {"seq": drawn.randint(0, 300)},
    "history": lambda drawn: {"after": drawn.randint(0, 300), "limit": drawn.randint(1, 2000)},
    "projection": lambda drawn: {
        "name": drawn.choice(("transcript", "plan", "actions", "latency", "session"))
    },
    "auth": lambda _: {"token": "eyJhbGciOiJub25lIn0.e30."},
    "ping": lambda drawn: {"nonce": drawn.choice(("n", 1))},
}
