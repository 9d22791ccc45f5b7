"""How sound may be encoded on the wire, and whether what came is any."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Refused
from typing import Final

FORMATS: Final = (
    "pcm16",
    "pcm",
    "pcm_s16le",
    "linear16",
    "mulaw",
    "alaw",
    "g711_ulaw",
    "g711_alaw",
    "opus",
    "webm",
    "ogg",
    "wav",
    "flac",
    "mp3",
    "aac",
)
"""The first four are the same: signed 16 bits, little-endian, one channel."""

RATES_HZ: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""What may stand behind a format, as in `pcm16_16000`; 16000 where there is nothing."""

_FORMAT: Final = re.compile(
    rf"(?:{'|'.join(FORMATS)})(?:[_.-](?:{'|'.join(map(str, RATES_HZ))}))?", re.IGNORECASE
)


def is_format(name: str) -> bool:
    """Whether sound may be encoded so."""
    return _FORMAT.fullmatch(name) is not None


def is_sound(text: str) -> bool:
    """Whether *text* is base64."""
    try:
        b64decode(text, validate=True)
    except (Base64Refused, ValueError):
        return False
    return True
