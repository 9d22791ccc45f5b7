"""Voices in a stream: when they begin, when they end, and what sound belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.speech import vad
from bargein.speech.vad import (
    Activity,
    Began,
    Change,
    DetectorMissing,
    Ended,
    VoiceActivity,
    WebRtc,
    Went,
)
from tests.speech.sounds import RATE_HZ, hush, sentences

FRAME_MS = 20
FRAME_BYTES = RATE_HZ * FRAME_MS // 1000 * 2


def scripted(verdicts: str) -> Callable[[bytes], bool]:
    """Return a judge that says `v` for a voice and anything else for none, frame by frame."""
    said = iter(verdicts)

    def judge(frame: bytes) -> bool:
        assert len(frame) == FRAME_BYTES
        return next(said) == "v"

    return judge


def fed(verdicts: str, bounds: Activity | None = None) -> list[tuple[int, Change]]:
    """Feed frames one by one; return what changed, and in which frame."""
    activity = VoiceActivity(scripted(verdicts), RATE_HZ, FRAME_MS, bounds or Activity())
    return [
        (number, change)
        for number in range(len(verdicts))
        for change in activity.feed(bytes([number % 256, 0]) * (FRAME_BYTES // 2))
    ]


def edges(changes: list[tuple[int, Change]]) -> list[tuple[int, str]]:
    return [(number, type(c).__name__) for number, c in changes if not isinstance(c, Went)]


def test_a_voice_begins_with_enough_of_the_latest_frames_and_no_sooner():
    assert edges(fed("..v.vv.......")) == []
    assert edges(fed("..v.vvv")) == [(6, "Began")]
    assert edges(fed("v" * 4)) == [(3, "Began")]


def test_frames_of_long_ago_do_not_count():
    assert edges(fed("vvv......v......vv")) == []


def test_a_pause_that_is_shorter_than_the_hangover_does_not_end_it():
    bounds = Activity(hangover_ms=100.0)
    assert edges(fed("vvvv....vv....v", bounds)) == [(3, "Began")]
    changes = fed("vvvv.....", bounds)
    assert edges(changes) == [(3, "Began"), (8, "Ended")]
    assert changes[-1] == (8, Ended(100.0))


def test_a_voice_has_the_sound_from_shortly_before_it_began():
    bounds = Activity(starts=2, among=2, lead_ms=40.0)
    (_, went) = [change for _, change in fed(".....vv", bounds)]
    assert isinstance(went, Went)
    assert went.pcm[::FRAME_BYTES] == bytes([3, 4, 5, 6])  # two of lead, two that began it


def test_a_voice_that_never_ends_is_cut_and_goes_on_as_another():
    bounds = Activity(most_ms=1000.0)
    changes = fed("v" * 120, bounds)
    assert edges(changes)[:3] == [(3, "Began"), (53, "Ended"), (57, "Began")]
    assert changes[[number for number, _ in changes].index(53) + 1] == (53, Ended(0.0))


def test_a_voice_that_fell_silent_from_outside_begins_anew():
    activity = VoiceActivity(lambda _: True, RATE_HZ, FRAME_MS)
    assert Began() in activity.feed(bytes(FRAME_BYTES * 5))
    activity.end()
    assert not activity.is_on
    assert activity.feed(bytes(FRAME_BYTES * 3)) == []
    assert Began() in activity.feed(bytes(FRAME_BYTES))


@pytest.mark.parametrize(
    ("name", "value"), [("starts", 0), ("hangover_ms", 1), ("lead_ms", -1), ("most_ms", 5)]
)
def test_bounds_that_make_no_sense_are_refused(name: str, value: int):
    with pytest.raises(ValueError, match=name):
        Activity(**{name: value})


def test_more_frames_to_begin_than_are_looked_at_are_refused():
    with pytest.raises(ValueError, match="among"):
        Activity(starts=3, among=2)


def cuts(pcm: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield pcm[at : at + size]
        at += size
    yield pcm[at:]


def shown(activity: VoiceActivity, pieces: Iterator[bytes]) -> list[object]:
    """Return what changes, with the sound of each voice as one."""
    seen: list[object] = []
    for piece in pieces:
        for change in activity.feed(piece):
            if isinstance(change, Went) and seen and isinstance(seen[-1], bytes):
                seen[-1] = seen[-1] + change.pcm
            else:
                seen.append(change.pcm if isinstance(change, Went) else change)
    return seen


@given(
    verdicts=st.text("v.", min_size=1, max_size=120),
    sizes=st.lists(st.integers(0, 3000), max_size=60),
)
def test_how_the_stream_is_cut_makes_no_difference(verdicts: str, sizes: list[int]):
    pcm = b"".join(bytes([n % 256, 1]) * (FRAME_BYTES // 2) for n in range(len(verdicts)))
    whole = VoiceActivity(scripted(verdicts), RATE_HZ, FRAME_MS)
    pieces = VoiceActivity(scripted(verdicts), RATE_HZ, FRAME_MS)
    assert shown(whole, iter([pcm])) == shown(pieces, cuts(pcm, sizes))


@given(verdicts=st.text("v.", min_size=1, max_size=250))
def test_voices_begin_and_end_in_turn_and_no_sound_is_heard_twice(verdicts: str):
    changes = fed(verdicts, Activity(hangover_ms=60.0, lead_ms=60.0))
    names = [name for _, name in edges(changes)]
    assert names == (["Began", "Ended"] * len(names))[: len(names)]
    heard = b"".join(c.pcm for _, c in changes if isinstance(c, Went))
    order = list(heard[::FRAME_BYTES])
    assert order == sorted(set(order))


# --- with the detector of WebRTC ----------------------------------------------------------


def voices(pcm: bytes, mode: vad.Mode = 2, frame_ms: vad.FrameMs = 20) -> list[tuple[str, float]]:
    """Return where voices begin and end in *pcm*, in seconds, as it comes."""
    detector = WebRtc(mode, frame_ms)
    activity = VoiceActivity(detector.listen(RATE_HZ), RATE_HZ, detector.frame_ms)
    step = 320  # ten milliseconds
    return [
        (type(change).__name__, (at + step) / 2 / RATE_HZ)
        for at in range(0, len(pcm), step)
        for change in activity.feed(pcm[at : at + step])
        if not isinstance(change, Went)
    ]


@pytest.mark.parametrize("frame_ms", [10, 20, 30])
def test_a_sentence_between_silences_is_one_voice(frame_ms: vad.FrameMs):
    question, _ = sentences()
    pcm = hush(0.7) + question + hush(0.5, 2)
    (began, began_s), (ended, ended_s) = voices(pcm, frame_ms=frame_ms)
    assert (began, ended) == ("Began", "Ended")
    assert 0.7 <= began_s <= 0.7 + 0.15
    assert 0.7 + 2.0 <= ended_s <= 0.7 + 2.2 + 0.24 + 0.2


def test_a_pause_between_sentences_parts_two_voices():
    _, barge_in = sentences()
    names = [name for name, _ in voices(hush(0.4) + barge_in)]
    assert names == ["Began", "Ended", "Began", "Ended"]


def test_the_noise_of_a_room_is_no_voice():
    assert voices(hush(5.0)) == []


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vad, "MODULE", "webrtcvad_that_is_not_here")
    with pytest.raises(DetectorMissing, match=r"bargein\[voice\]"):
        WebRtc().listen(RATE_HZ)
