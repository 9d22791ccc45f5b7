"""The way in of one connection: what its socket has, read without the layers above it."""

import os

import trio


async def read_some(stream: trio.abc.ReceiveStream, most_bytes: int) -> bytes | bytearray:
    """Wait until the client has sent something; return what is here, empty at its end.

    Over a plain socket an idle client costs one wait: the stream would hold five calls and two
    contexts for it, 2 KiB, and try to read before there is anything.

    Raises:
        trio.BrokenResourceError: The connection is lost; close it.
        trio.ClosedResourceError: It was closed here.
    """
    if not isinstance(stream, trio.SocketStream):
        return await stream.receive_some(most_bytes)
    socket = stream.socket
    while socket.fileno() >= 0:
        await trio.lowlevel.wait_readable(socket)
        try:
            return os.read(socket.fileno(), most_bytes)
        except BlockingIOError:
            continue  # the kernel has thought better of it
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
    raise trio.ClosedResourceError("this socket was already closed")
