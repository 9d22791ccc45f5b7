"""What waits to be written to one client, and how far the kernel has taken it."""

from collections import deque
from collections.abc import Sequence

from attrs import define, field

_NOTHING = memoryview(b"")


def text_frame(text: bytes) -> bytes:
    """Wrap a whole text message in the one frame that a server sends it in.

    The text has to be UTF-8; this does not look.  Server frames are not masked, so the same bytes
    can go to every client.
    """
    size = len(text)
    if size < 126:  # noqa: PLR2004 - the sizes at which RFC 6455 changes the header
        return b"\x81%c%b" % (size, text)
    if size < 65536:  # noqa: PLR2004
        return b"\x81\x7e%b%b" % (size.to_bytes(2), text)
    return b"\x81\x7f%b%b" % (size.to_bytes(8), text)


@define(eq=False)
class Outbox:
    """Keep whole frames in order, and count what has gone.

    Two streams share the socket.  Ordinary frames keep their order and are counted: the position
    at which one ends, compared with `taken_bytes`, says whether it has gone.  Frames put first
    (a flush, a pong) go before all ordinary ones that have not begun, in their own order, and are
    not counted, so they don't disturb that comparison.  Nothing ever enters the middle of a frame.

    Lives as long as its connection.  Does no I/O and never waits.
    """

    put_bytes: int = field(default=0, init=False)
    _taken_bytes: int = field(default=0, init=False)
    _waiting_bytes: int = field(default=0, init=False)
    _handed_over: tuple[int, int] = field(default=(0, 0), init=False)  # bytes, of them counted
    _cut: memoryview = field(default=_NOTHING, init=False)
    _cut_is_counted: bool = field(default=False, init=False)
    # None while nothing waits, as mostly: an empty deque takes 760 bytes of each connection.
    _first: deque[bytes] | None = field(default=None, init=False)
    _ordinary: deque[bytes] | None = field(default=None, init=False)

    @property
    def taken_bytes(self) -> int:
        """Count the bytes of ordinary frames that the kernel has taken, in order."""
        return self._taken_bytes - self._handed_over[1]

    @property
    def buffered_bytes(self) -> int:
        """Count the bytes, of all frames, that the kernel has not taken yet."""
        return self._waiting_bytes + self._handed_over[0]

    def put(self, frames: Sequence[bytes]) -> None:
        """Append ordinary frames."""
        size = sum(map(len, frames))
        self.put_bytes += size
        self._waiting_bytes += size
        if self._ordinary is None:
            self._ordinary = deque()
        self._ordinary.extend(frames)

    def put_first(self, frames: Sequence[bytes]) -> None:
        """Put frames before every ordinary one that has not begun."""
        self._waiting_bytes += sum(map(len, frames))
        if self._first is None:
            self._first = deque()
        self._first.extend(frames)

    def pass_through(self, size: int) -> None:
        """Count ordinary frames that the kernel took at once, without waiting here."""
        self.put_bytes += size
        self._taken_bytes += size

    def lose(self, size: int) -> None:
        """Count ordinary frames that came too late to be sent: they never count as taken."""
        self.put_bytes += size

    def peek(self, wanted_bytes: int) -> bytes | memoryview:
        """Look at what has to be written next: about as much as wanted, in whole frames."""
        if len(self._cut) >= wanted_bytes:
            return self._cut[:wanted_bytes]
        pieces: list[bytes | memoryview] = [self._cut] if self._cut else []
        size = len(self._cut)
        for frames in (self._first, self._ordinary):
            for frame in frames or ():
                if size >= wanted_bytes:
                    break
                pieces.append(frame)
                size += len(frame)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def took(self, size: int) -> None:
        """Record that this many bytes of what `peek` showed have gone to the kernel."""
        self._waiting_bytes -= size
        while size:
            if not self._cut:
                self._cut = memoryview(self._next_frame())
            taken = min(size, len(self._cut))
            if self._cut_is_counted:
                self._taken_bytes += taken
            self._cut = self._cut[taken:]
            size -= taken

    def _next_frame(self) -> bytes:
        self._cut_is_counted = not self._first
        frames = self._first or self._ordinary
        if not frames:
            raise ValueError("more was taken than there is; mend the caller")
        return frames.popleft()

    def hand_over(self, size: int) -> None:
        """Give bytes to a stream that is slow to say whether it has sent them.

        They stay buffered, and not taken, until `arrived`, but nothing overtakes them any more.
        """
        before = self._taken_bytes
        self.took(size)
        self._handed_over = (size, self._taken_bytes - before)

    def arrived(self) -> None:
        """Record that what was handed over has been sent."""
        self._handed_over = (0, 0)

    def clear(self) -> None:
        """Drop all that waits; what was taken stays taken."""
        self._taken_bytes = self.taken_bytes  # what was only handed over never arrived
        self._handed_over = (0, 0)
        self._waiting_bytes = 0
        self._cut = _NOTHING
        self._first = self._ordinary = None
