"""Whose turn it is to write into a place of the page: a newer request ends an older one."""

from collections.abc import Callable


class Turns:
    """Requests for one place, in one browser window.

    A request that takes long must not overwrite what a later one wrote: it asks before each time that it writes, and
    ends where it is no longer the latest. Gradio copies an instance for each window.
    """

    def __init__(self) -> None:
        self._latest = 0

    def take(self) -> Callable[[], bool]:
        """Begin a request. The function returned says whether it still is the latest."""
        self._latest += 1
        mine = self._latest
        return lambda: self._latest == mine
