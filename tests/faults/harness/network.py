"""A TCP proxy that misbehaves on purpose: cuts, stalls, delays and half-open connections."""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Self

Weather = Literal["fair", "cut", "half-open", "slow", "lossy"]
_CHUNK = 65536


class FaultyNetwork:
    """Forwards 127.0.0.1:``port`` to an address as the weather allows; used as a context manager.

    ``cut`` refuses and resets, ``half-open`` accepts and never answers, ``slow`` adds two seconds each
    way, ``lossy`` loses about every third chunk, which stalls a stream for good as TCP shows it to us.
    """

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        """Forward to ``host:port``, or to a Unix socket when the port is 0."""
        self._to = (host, port)
        self._chance = random.Random(seed)
        self._weather: Weather = "fair"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self.port = 0
        self.disturbed = 0
        """How many connections or chunks met anything but fair weather."""

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._thread.start()
        self._server = self._run(lambda: asyncio.start_server(self._forward, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def turn(self, weather: Weather) -> None:
        """Change the weather; open connections feel it too."""
        self._weather = weather
        self._run(self._clear)
        if weather == "cut":
            self._run(self._reset)

    def _run(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(10)

    async def _clear(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _reset(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._reset()
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._weather == "cut":
            self.disturbed += 1
            writer.transport.abort()
            return
        host, port = self._to
        opening = asyncio.open_connection(host, port) if port else asyncio.open_unix_connection(host)
        try:
            there_reader, there_writer = await opening
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(there_writer)
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lost = False
        try:
            while chunk := await reader.read(_CHUNK):
                if self._weather != "fair":
                    self.disturbed += 1
                if self._weather == "slow":
                    await asyncio.sleep(2)
                lost = lost or (self._weather == "lossy" and self._chance.random() < 1 / 3)
                if self._weather == "half-open" or (lost and self._weather == "lossy"):
                    await self._changed.wait()
                writer.write(chunk)
                await writer.drain()
        except (ConnectionError, OSError):
            pass
        finally:
            writer.close()
