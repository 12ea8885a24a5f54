"""A budget shared by all requests, which lease amounts of it, first come, first served."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator

from surgvl.serve.http_errors import RequestError

BUDGET_WAIT_S = 120.0
"""Longest wait for a lease."""
RETRY_S = 10


class Budget:
    """A bounded amount of something, such as bytes of memory, handed out first come, first served.

    Args:
        size: total amount that may be leased at a time.
    """

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def acquire(self, amount: int) -> AsyncIterator["Lease"]:
        """Wait for an amount and hold it inside the block, or until the lease is released.

        Raises:
            RequestError: nothing became free in time; 503.
        """
        lease = Lease(self, min(amount, self.size))
        await self._take(lease.amount)
        try:
            yield lease
        finally:
            lease.release()

    @contextlib.contextmanager
    def open(self) -> Iterator["Lease"]:
        """An empty lease that may grow inside the block."""
        lease = Lease(self, 0)
        try:
            yield lease
        finally:
            lease.release()

    async def _take(self, amount: int) -> None:
        if amount == 0 or (not self._waiting and amount <= self.free):
            self.free -= amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            async with asyncio.timeout(BUDGET_WAIT_S):
                await turn
        except BaseException as error:
            # Return what may have been granted meanwhile; the next in line may fit now.
            granted = turn.done() and not turn.cancelled()
            with contextlib.suppress(ValueError):
                self._waiting.remove((amount, turn))
            self.give_back(amount if granted else 0)
            if isinstance(error, TimeoutError):
                raise RequestError(503, "too many requests at a time: retry later", RETRY_S) from None
            raise

    def give_back(self, amount: int) -> None:
        """Return an amount, and grant those waiting requests that fit now."""
        self.free += amount
        while self._waiting and self._waiting[0][0] <= self.free:
            granted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.free -= granted
                turn.set_result(None)


class Lease:
    """A part of a budget."""

    def __init__(self, budget: Budget, amount: int) -> None:
        self.budget, self.amount = budget, amount

    def grow(self, amount: int) -> None:
        """Take more, without waiting.

        Raises:
            RequestError: there is not enough left; 503.
        """
        if amount > self.budget.free:
            raise RequestError(503, "too many uploads at a time: retry later", RETRY_S)
        self.budget.free -= amount
        self.amount += amount

    def release(self) -> None:
        """Return it; a second call does nothing."""
        amount, self.amount = self.amount, 0
        self.budget.give_back(amount)
