"""What of the sound on the wire the server itself can listen to: PCM, and that of telephones."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable
from typing import Final

from attrs import frozen

RATES_HZ: Final = (8000, 16000, 32000, 48000)
"""What voice detectors and recognisers take; nothing is resampled here."""

DEFAULT_RATE_HZ: Final = 16000

SAMPLE_BYTES: Final = 2


class SoundRefused(ValueError):
    """The server can't listen to sound of this format; send one that it can.

    Attributes:
        format: What was sent.
    """

    def __init__(self, given: str) -> None:
        rates = ", ".join(map(str, RATES_HZ))
        super().__init__(
            f"The server listens to pcm16, mulaw and alaw at {rates} Hz, and not to {given!r}."
        )
        self.format = given


@frozen
class Encoding:
    """How sound came, and how it becomes samples.

    Attributes:
        rate_hz: Samples for each second.
    """

    rate_hz: int
    _decode: Callable[[bytes], bytes]

    def samples(self, sound: bytes) -> bytes:
        """Return *sound* as signed 16 bits, little-endian."""
        return self._decode(sound)


def encoding_of(name: str) -> Encoding:
    """Return how sound of the format *name* is read.

    Raises:
        SoundRefused: It is another format than the server can listen to.
    """
    found = _FORMAT.fullmatch(name)
    decode = _CODECS.get(found[1].lower()) if found else None
    rate_hz = int(found[2]) if found and found[2] else DEFAULT_RATE_HZ
    if decode is None or rate_hz not in RATES_HZ:
        raise SoundRefused(name)
    return Encoding(rate_hz, decode)


def _as_it_is(sound: bytes) -> bytes:
    return sound


def _ulaw(byte: int) -> int:
    byte = ~byte & 0xFF
    size = (((byte & 0x0F) << 3) + 0x84 << ((byte & 0x70) >> 4)) - 0x84
    return -size if byte & 0x80 else size


def _alaw(byte: int) -> int:
    byte ^= 0x55
    segment = (byte & 0x70) >> 4
    size = ((byte & 0x0F) << 4) + (8 if segment == 0 else 0x108)
    size <<= max(0, segment - 1)
    return size if byte & 0x80 else -size


def _decoder(expand: Callable[[int], int]) -> Callable[[bytes], bytes]:
    table = [expand(byte) for byte in range(256)]

    def decode(sound: bytes) -> bytes:
        samples = array("h", [table[byte] for byte in sound])
        if sys.byteorder == "big":
            samples.byteswap()
        return samples.tobytes()

    return decode


_FORMAT: Final = re.compile(r"([a-z0-9_]+?)(?:[_.-]([0-9]{4,5}))?", re.IGNORECASE)
_MULAW: Final = _decoder(_ulaw)
_ALAW: Final = _decoder(_alaw)
_CODECS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "pcm16": _as_it_is,
    "pcm": _as_it_is,
    "pcm_s16le": _as_it_is,
    "linear16": _as_it_is,
    "mulaw": _MULAW,
    "g711_ulaw": _MULAW,
    "alaw": _ALAW,
    "g711_alaw": _ALAW,
}
