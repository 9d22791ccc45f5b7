"""Whole messages out of a client's data frames."""

from attrs import define, field, frozen

TEXT_OPCODE = 0x1
BINARY_OPCODE = 0x2


@frozen
class TextFrame:
    """A text message, decoded."""

    text: str


@frozen
class BinaryFrame:
    """A binary message; its content is not kept, since nothing here takes one."""

    size_bytes: int


@frozen
class NotUtf8:
    """A text message that is not UTF-8.

    Attributes:
        position: Offset in bytes of the first bad byte.
    """

    size_bytes: int
    position: int


@frozen
class Oversized:
    """A message, text or binary, over the limit; its content was not kept."""

    size_bytes: int


Incoming = TextFrame | BinaryFrame | NotUtf8 | Oversized


class TooManyFragments(Exception):
    """A message came in more pieces than any honest client makes.

    The connection has to be closed with 1009; the client may resume.

    Attributes:
        limit: How many fragments a message may have.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"a message may come in at most {limit} fragments")
        self.limit = limit


@define(eq=False)
class Inbox:
    """Join the fragments of one message at a time.

    Holds at most `message_bytes` of an unfinished message: what goes beyond is counted and
    dropped at once.  How large a message may become at all is the library's limit.
    """

    message_bytes: int
    fragments: int
    _opcode: int = field(default=0, init=False)
    _pieces: list[bytes] = field(factory=list[bytes], init=False)
    _seen: int = field(default=0, init=False)
    _size_bytes: int = field(default=0, init=False)

    @property
    def held_bytes(self) -> int:
        """Count what is kept of an unfinished message."""
        return sum(map(len, self._pieces))

    def take(self, opcode: int, piece: bytes, *, final: bool) -> Incoming | None:
        """Take one data frame; return the message that it completes.

        The order of opcodes is the library's to check.

        Raises:
            TooManyFragments: Close with 1009.
        """
        if self._seen == 0:
            self._opcode = opcode
        self._seen += 1
        self._size_bytes += len(piece)
        if self._seen > self.fragments:
            raise TooManyFragments(self.fragments)
        if self._size_bytes > self.message_bytes or self._opcode == BINARY_OPCODE:
            self._pieces.clear()
        else:
            self._pieces.append(piece)
        if not final:
            return None
        try:
            return self._whole()
        finally:
            self._pieces.clear()
            self._seen = self._size_bytes = 0

    def _whole(self) -> Incoming:
        if self._size_bytes > self.message_bytes:
            return Oversized(self._size_bytes)
        if self._opcode == BINARY_OPCODE:
            return BinaryFrame(self._size_bytes)
        try:
            return TextFrame(b"".join(self._pieces).decode())
        except UnicodeDecodeError as error:
            return NotUtf8(self._size_bytes, error.start)
