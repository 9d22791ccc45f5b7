"""Between bytes and values: commands in, events and frames out.

An event is encoded once, when it is appended; the store and every connection
share those bytes.  Commands come from anybody and pass the strict gate first.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs
import msgspec

from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import COMMANDS, Command, Configure, Say
from bargein.protocol.events import PAYLOADS, Event, KnownPayload, Payload, Unknown
from bargein.protocol.frames import Frame, Problem, problem
from bargein.protocol.gate import JsonRefused, parse
from bargein.protocol.ids import CLIENT_ID, CommandId, EventId, Seq, SessionId, TurnId

MOST_STRING_CHARS: Final = 32 * 1024

_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode
_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key in )?\$\.?(?P<path>[^`]*)`)?$")
_RENAMED: Final[dict[type[Any], tuple[str, ...]]] = {
    # A field whose wire name is a Python keyword ends with an underscore here.
    kind: names
    for kind in PAYLOADS.values()
    if (names := tuple(f.name for f in attrs.fields(kind) if f.name.endswith("_")))
}


class CommandRefused(ValueError):
    """The frame holds no command that can be taken.

    Attributes:
        command_id: The command's id, where one could be read.
        problem: What to tell the client.
    """

    def __init__(self, command_id: CommandId | None, trouble: Problem) -> None:
        super().__init__(trouble.message)
        self.command_id = command_id
        self.problem = trouble


# --- commands in -------------------------------------------------------------


def decode_command(text: str) -> tuple[Command, dict[str, Any]]:
    """Return the command in *text*, and the object it was read from.

    Raises:
        CommandRefused: If there is none; the client is told, and stays.
    """
    try:
        body = parse(text)
    except JsonRefused as refused:
        raise CommandRefused(None, problem(ErrorCode.INVALID_JSON, f"{refused}.")) from None
    if not isinstance(body, dict):
        trouble = problem(ErrorCode.INVALID_COMMAND, "A command is a JSON object.")
        raise CommandRefused(None, trouble)
    return command_of(body), body  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def command_of(body: dict[str, Any]) -> Command:
    """Return the command that *body* describes.

    Raises:
        CommandRefused: If its type is unknown or a field is wrong.
    """
    command_id = _readable_id(body.get("id"))
    name = body.get("type")
    if not isinstance(name, str):
        trouble = problem(ErrorCode.INVALID_COMMAND, "`type` has to be a string.", param="type")
        raise CommandRefused(command_id, trouble)
    kind = COMMANDS.get(name)
    if kind is None:
        raise CommandRefused(command_id, problem(ErrorCode.UNKNOWN_COMMAND, param="type"))
    fields = {key: value for key, value in body.items() if key != "type"}
    if kind is Configure:
        _refuse_unknown_settings(command_id, fields)
    _refuse_long_strings(command_id, name, fields)
    _refuse_bad_id(fields)
    try:
        command = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise CommandRefused(command_id, _field_problem(error)) from None
    if isinstance(command, Say) and not command.text.strip() and command.resume is None:
        trouble = problem(ErrorCode.INVALID_COMMAND, "`text` is empty.", param="text")
        raise CommandRefused(command_id, trouble)
    return command


def _readable_id(value: object) -> CommandId | None:
    if isinstance(value, str) and CLIENT_ID.fullmatch(value):
        return CommandId(value)
    return None


def _refuse_unknown_settings(command_id: CommandId | None, fields: dict[str, Any]) -> None:
    known = {f.name for f in attrs.fields(Configure)}
    for key in fields:
        if key not in known:
            trouble = problem(ErrorCode.INVALID_COMMAND, f"There is no setting `{key[:64]}`.", param=key[:64])
            raise CommandRefused(command_id, trouble)


def _refuse_long_strings(command_id: CommandId | None, name: str, fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        if name == "audio.chunk" and key == "data":
            continue
        if path := _long_string(value, key):
            message = f"`{path}` is longer than {MOST_STRING_CHARS} characters."
            raise CommandRefused(command_id, problem(ErrorCode.INVALID_COMMAND, message, param=path))


def _long_string(value: Any, path: str) -> str | None:
    """Return the path of a string over the limit in *value*, if there is one."""
    match value:
        case str():
            return path if len(value.encode()) > MOST_STRING_CHARS else None
        case dict():
            items: list[tuple[Any, Any]] = list(value.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case list():
            items = list(enumerate(value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case _:
            return None
    for key, item in items:
        if found := _long_string(item, f"{path}.{key}"):
            return found
    return None


def _refuse_bad_id(fields: dict[str, Any]) -> None:
    # Null is the same as none at all; the type alone would name no reason.
    if fields.get("id") is not None and _readable_id(fields["id"]) is None:
        message = "An id has 1 to 64 of the characters A-Z a-z 0-9 _ . -"
        raise CommandRefused(None, problem(ErrorCode.INVALID_COMMAND, message, param="id"))


def _field_problem(error: msgspec.ValidationError) -> Problem:
    found = _AT.match(str(error))
    what = found["what"] if found else str(error)
    path = (found["path"] if found else None) or None
    if path is None and (missing := re.search(r"required field `([^`]+)`", what)):
        path = missing[1]
    return problem(ErrorCode.INVALID_COMMAND, f"{what}.", param=path)


# --- events ------------------------------------------------------------------


def session_prefix(session_id: SessionId) -> bytes:
    """Return how every event frame of this session begins."""
    return b'{"session_id":"%b",' % session_id.encode()


def encode_event(
    prefix: bytes,
    seq: Seq,
    ts: bytes,
    turn_id: TurnId | None,
    parent: EventId | None,
    payload: Payload,
) -> bytes:
    """Return the frame of an event; *prefix* is `session_prefix` of its session.

    Written by hand around the payload: the envelope is plain ASCII, its keys
    come in an order that people can read, and this is the hottest encode.
    """
    return b'%b"seq":%d,"event_id":"evt_%d","ts":"%b","type":"%b","turn_id":%b,"parent_event_id":%b,"payload":%b}' % (
        prefix,
        seq,
        seq,
        ts,
        payload.type.encode(),
        b'"%b"' % turn_id.encode() if turn_id else b"null",
        b'"%b"' % parent.encode() if parent else b"null",
        encode_payload(payload),
    )


def encode_payload(payload: Payload) -> bytes:
    """Return the JSON of a payload alone."""
    kind = type(payload)
    if isinstance(payload, Unknown):
        return _encode(payload.fields)
    if kind in _RENAMED:
        fields = msgspec.to_builtins(payload)
        for name in _RENAMED[kind]:
            fields[name.removesuffix("_")] = fields.pop(name)
        return _encode(fields)
    return _encode(payload)


class EventRefused(ValueError):
    """The bytes are no event of this or an earlier version.

    Attributes:
        reason: What does not fit, in words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"not an event: {reason}")
        self.reason = reason


class _Envelope(msgspec.Struct):
    session_id: SessionId
    seq: Seq
    event_id: EventId
    ts: str
    type: str
    turn_id: TurnId | None
    parent_event_id: EventId | None
    payload: msgspec.Raw


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_payload_decoders: Final = {
    name: msgspec.json.Decoder(kind) for name, kind in PAYLOADS.items() if kind not in _RENAMED
}


def decode_event(frame: bytes) -> Event:
    """Return the event that *frame* holds.

    Raises:
        EventRefused: If the bytes are not an event frame.
    """
    try:
        envelope = _decode_envelope(frame)
        payload = decode_payload(envelope.type, bytes(envelope.payload))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise EventRefused(str(error)) from None
    return Event(
        envelope.session_id,
        envelope.seq,
        envelope.event_id,
        envelope.ts,
        envelope.turn_id,
        envelope.parent_event_id,
        payload,
    )


def decode_payload(name: str, raw: bytes) -> Payload:
    """Return the payload of the type called *name*; one not known is `Unknown`."""
    decoder = _payload_decoders.get(name)
    if decoder is not None:
        return decoder.decode(raw)
    kind: type[KnownPayload] | None = PAYLOADS.get(name)
    fields = msgspec.json.decode(raw, type=dict[str, Any])
    if kind is None:
        return Unknown(name, fields)
    for field_name in _RENAMED[kind]:
        fields[field_name] = fields.pop(field_name.removesuffix("_"), None)
    return msgspec.convert(fields, kind)


# --- frames out ----------------------------------------------------------------


def encode_frame(frame: Frame) -> bytes:
    """Return the JSON of a connection frame, its `type` first."""
    return b'{"type":"%b",%b' % (frame.type.encode(), _encode(frame)[1:])
