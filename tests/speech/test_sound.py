"""Sound on the wire as samples: what is taken, and how telephones encode it."""

from __future__ import annotations

import pytest

from bargein.protocol.audio import FORMATS, RATES_HZ, is_format
from bargein.speech import sound
from bargein.speech.sound import SoundRefused, encoding_of

LISTENED = ("pcm16", "pcm", "pcm_s16le", "linear16", "mulaw", "alaw", "g711_ulaw", "g711_alaw")


def samples(name: str, data: bytes) -> list[int]:
    pcm = encoding_of(name).samples(data)
    return [int.from_bytes(pcm[at : at + 2], "little", signed=True) for at in range(0, len(pcm), 2)]


@pytest.mark.parametrize("name", LISTENED)
@pytest.mark.parametrize("rate", sound.RATES_HZ)
def test_what_it_listens_to_may_be_sent(name: str, rate: int):
    for text in (f"{name}_{rate}", f"{name.upper()}-{rate}", f"{name}.{rate}"):
        assert is_format(text)
        assert encoding_of(text).rate_hz == rate
    assert encoding_of(name).rate_hz == 16_000


@pytest.mark.parametrize("name", sorted(set(FORMATS) - set(LISTENED)))
def test_what_it_can_not_listen_to_is_refused_by_name(name: str):
    with pytest.raises(SoundRefused) as refused:
        encoding_of(name)
    assert refused.value.format == name
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("rate", sorted(set(RATES_HZ) - set(sound.RATES_HZ)))
def test_a_rate_that_no_detector_takes_is_refused(rate: int):
    with pytest.raises(SoundRefused):
        encoding_of(f"pcm16_{rate}")


def test_pcm_is_as_it_is():
    assert samples("pcm16", b"\x01\x00\xff\xff\x00\x80") == [1, -1, -32_768]


def test_mu_law_is_as_in_g711():
    # The ends and the middle of the table of ITU-T G.711, as 16 bits.
    assert samples("mulaw", b"\x00\x80\x7f\xff\x0f\x8f\x70\xf0") == [
        -32_124, 32_124, 0, 0, -16_764, 16_764, -120, 120,
    ]  # fmt: skip


def test_a_law_is_as_in_g711():
    assert samples("g711_alaw", b"\xd5\x55\xaa\x2a\x80\x00") == [
        8, -8, 32_256, -32_256, 5_504, -5_504,
    ]  # fmt: skip
