"""Replies that end: the bytes of a reply are counted while it arrives."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from inoc.services.retries import Transient

if TYPE_CHECKING:
    from httpx2 import AsyncByteStream, SyncByteStream


def capped(stream: "SyncByteStream | AsyncByteStream", megabytes: int) -> "AsyncByteStream":
    """The stream of a reply; reading more than `megabytes` of it is a malformed reply."""
    from httpx2 import AsyncByteStream

    assert isinstance(stream, AsyncByteStream)

    class Capped(AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = megabytes * 1_000_000
            async for chunk in stream:
                left -= len(chunk)
                if left < 0:
                    raise Transient("malformed", f"it has more than {megabytes} MB (the option reply_mb)")
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()

    return Capped()
