"""Between bytes and values: commands in, events and frames out.

An event is encoded once, when it is appended; the store and every connection
share those bytes.  Commands come from anybody and pass the strict gate first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import attrs
import msgspec

from bargein.protocol.audio import FORMATS, is_format, is_sound
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import COMMANDS, Budgets, Command, Configure, Say, SendAudio
from bargein.protocol.events import PAYLOADS, Event, KnownPayload, ModelToken, Payload, Unknown
from bargein.protocol.frames import Frame, Problem, problem
from bargein.protocol.gate import Json, JsonRefused, parse
from bargein.protocol.ids import CLIENT_ID, TURN_ID, CommandId, EventId, Seq, SessionId, TurnId

MOST_STRING_BYTES: Final = 32 * 1024
"""Of one string or key in UTF-8, outside `audio.chunk.data`."""

MOST_QUOTED_CHARS: Final = 200
"""Of what a client sent, in the answer to it."""

_encode: Final = msgspec.json.Encoder().encode
_ID_SENTENCE: Final = "An id has 1 to 64 of the characters A-Z a-z 0-9 _ . -"
_SETTINGS: Final = frozenset(f.name for f in attrs.fields(Configure))
_BUDGETS: Final = frozenset(f.name for f in attrs.fields(Budgets))


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
    return command_of(body), body


def command_of(body: dict[str, Json]) -> Command:
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
    trouble = _trouble_before(kind, fields)
    if trouble is not None:
        raise CommandRefused(command_id, trouble)
    try:
        command = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise CommandRefused(command_id, _field_problem(error)) from None
    if isinstance(command, Say) and not command.text.strip() and command.resume is None:
        raise CommandRefused(command_id, _wrong("`text` is empty.", "text"))
    if isinstance(command, SendAudio) and not is_format(command.format):
        known = ", ".join(FORMATS)
        raise CommandRefused(command_id, _wrong(f"The formats are: {known}.", "format"))
    if isinstance(command, SendAudio) and not is_sound(command.data):
        raise CommandRefused(command_id, _wrong("`data` is no base64.", "data"))
    return command


def _wrong(message: str, param: str) -> Problem:
    return problem(ErrorCode.INVALID_COMMAND, message, param=param[:MOST_QUOTED_CHARS])


def _readable_id(value: object) -> CommandId | None:
    if isinstance(value, str) and CLIENT_ID.fullmatch(value):
        return CommandId(value)
    return None


def _trouble_before(kind: type[Command], fields: dict[str, Json]) -> Problem | None:
    """Return what is wrong with *fields* that their types don't tell."""
    # Null is the same as none at all.
    if fields.get("id") is not None and _readable_id(fields["id"]) is None:
        return _wrong(_ID_SENTENCE, "id")
    if kind is Configure:
        for key in fields:
            if key not in _SETTINGS:
                return _wrong(f"There is no setting `{key[:MOST_QUOTED_CHARS]}`.", key)
        budgets = fields.get("budgets")
        for key in budgets if isinstance(budgets, dict) else ():
            if key not in _BUDGETS:
                return _wrong(f"There is no budget `{key[:MOST_QUOTED_CHARS]}`.", "budgets")
    for key, value in fields.items():
        if key == "data" and kind is SendAudio:
            continue
        for path in _long_strings(key, value):
            return _wrong(f"A string may have {MOST_STRING_BYTES} bytes of UTF-8.", path)
    return None


def _long_strings(path: str, value: Json) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) > MOST_STRING_BYTES or len(value.encode()) > MOST_STRING_BYTES:
            yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _long_strings(path, key)
            yield from _long_strings(f"{path}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _long_strings(f"{path}.{index}", item)


def _field_problem(error: msgspec.ValidationError) -> Problem:
    # "Expected `int`, got `str` - at `$.heard.chars`", or of the whole object
    # "Object missing required field `seq`"; both may quote what the client sent.
    text = str(error)
    what, at, place = text.rpartition(" - at `$")
    if not at:
        return _wrong(f"{text}.", text.split("`")[1])
    sentence = _ID_SENTENCE if "matching regex" in what else f"{what[:MOST_QUOTED_CHARS]}."
    return _wrong(sentence, place.strip(".`"))


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
    return (
        b'%b"seq":%d,"event_id":"evt_%d","ts":"%b","type":"%b","turn_id":%b,'
        b'"parent_event_id":%b,"payload":%b}'
    ) % (
        prefix,
        seq,
        seq,
        ts,
        payload.type.encode(),
        b'"%b"' % turn_id.encode() if turn_id else b"null",
        b'"%b"' % parent.encode() if parent else b"null",
        encode_payload(payload),
    )


def words_envelope(turn_id: TurnId, parent: EventId) -> bytes:
    """Return what the frames of all pieces of an answer have in common, for `encode_words`."""
    return b'"type":"model.token","turn_id":"%b","parent_event_id":"%b","payload":' % (
        turn_id.encode(),
        parent.encode(),
    )


def encode_words(prefix: bytes, seq: Seq, ts: bytes, envelope: bytes, payload: ModelToken) -> bytes:
    """Return the frame of a piece of an answer, as `encode_event` would; nearly every event is one.

    The *envelope* is from `words_envelope`.
    """
    return b'%b"seq":%d,"event_id":"evt_%d","ts":"%b",%b%b}' % (
        prefix,
        seq,
        seq,
        ts,
        envelope,
        _encode(payload),
    )


def encode_payload(payload: Payload) -> bytes:
    """Return the JSON of a payload alone."""
    return _ENCODERS.get(type(payload), _encode)(payload)


def _encode_renamed(payload: KnownPayload) -> bytes:
    fields: dict[str, Any] = msgspec.to_builtins(payload)
    for wire, name in _RENAMED[payload.type].items():
        fields[wire] = fields.pop(name)
    return _encode(fields)


def _encode_unknown(payload: Unknown) -> bytes:
    return _encode(payload.fields)


_RENAMED: Final[dict[str, dict[str, str]]] = {
    # A field whose wire name is a Python keyword ends with an underscore here.
    name: renamed
    for name, kind in PAYLOADS.items()
    if (renamed := {f.name[:-1]: f.name for f in attrs.fields(kind) if f.name.endswith("_")})
}
_ENCODERS: Final[dict[type[Payload], Callable[[Any], bytes]]] = {
    Unknown: _encode_unknown,
    **{PAYLOADS[name]: _encode_renamed for name in _RENAMED},
}


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
    seq: Annotated[Seq, msgspec.Meta(ge=1)]
    event_id: EventId
    ts: str
    type: str
    turn_id: Annotated[TurnId, msgspec.Meta(pattern=TURN_ID)] | None
    parent_event_id: EventId | None
    payload: msgspec.Raw


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_payload_decoders: Final[dict[str, msgspec.json.Decoder[KnownPayload]]] = {
    name: msgspec.json.Decoder(kind) for name, kind in PAYLOADS.items() if name not in _RENAMED
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
    """Return the payload of the type called *name*; one not known is `Unknown`.

    Raises:
        msgspec.MsgspecError: If *raw* does not fit the type.
    """
    decoder = _payload_decoders.get(name)
    if decoder is not None:
        return decoder.decode(raw)
    fields = msgspec.json.decode(raw, type=dict[str, Any])
    kind = PAYLOADS.get(name)
    if kind is None:
        return Unknown(name, fields)
    for wire, field_name in _RENAMED[name].items():
        fields[field_name] = fields.pop(wire, None)
    return msgspec.convert(fields, kind)


# --- frames out ----------------------------------------------------------------


def encode_frame(frame: Frame) -> bytes:
    """Return the JSON of a connection frame, its `type` first."""
    return b'{"type":"%b",%b' % (frame.type.encode(), _encode(frame)[1:])
