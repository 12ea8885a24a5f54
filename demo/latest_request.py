"""A newer request for the same part of the page supersedes an older one."""

from collections.abc import Callable


class LatestRequest:
    """Requests for one part of the page, in one browser window.

    A slow request must not overwrite the result of a later one, so before each write it checks that it is still the
    latest, and otherwise ends. Gradio copies an instance for each window.
    """

    def __init__(self) -> None:
        self._number = 0

    def begin(self) -> Callable[[], bool]:
        """Start a request; the returned function tells whether it is still the latest."""
        self._number += 1
        mine = self._number
        return lambda: self._number == mine
