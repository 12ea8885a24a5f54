"""Workers that run the tests: forks of the process that has collected them.

pytest-xdist starts interpreters, each of which imports and collects everything by itself for 14 processor seconds, of
which a fork takes nothing. As there, a group of tests is one worker's work, a worker that dies fails the test that it
ran and another goes on, and what pytest does about reports it does in the first process.
"""

import os
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest

from tests.helpers.in_fork import begin, ended


def run(session: pytest.Session, groups: list[list[int]], count: int) -> None:
    """Run groups of tests, by their places among the session's, in some workers.

    Raises:
        pytest.Session.Failed: as many failed as were to be waited for.
        pytest.Session.Interrupted: pytest or one of its plugins ended the session.
    """
    # All workers share it, as those of pytest-xdist do.
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    waiting = deque(groups)
    workers = [_Worker(session, waiting) for _ in range(min(count, len(groups)))]
    try:
        while workers:
            wait([worker.link for worker in workers])
            workers = [after for worker in workers if (after := worker.heard())]
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    finally:
        for worker in workers:
            worker.kill()


@dataclass(eq=False)
class _Worker:
    """A worker, as the first process sees it.

    Attributes:
        session: what the tests belong to.
        waiting: the groups that no worker has.
        left: the tests that it was given and has not finished, of which it runs the first.
        link: what it is heard by.
    """

    session: pytest.Session
    waiting: deque[list[int]]
    left: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.link, theirs = Pipe()

        def work() -> None:
            self.link.close()
            _work(self.session, theirs)

        self._pid = begin(work)
        theirs.close()

    def heard(self) -> "_Worker | None":
        """Take what it says, if anything: the worker itself, another in its place, or None where it is done."""
        try:
            while self.link.poll():
                getattr(self, f"_{self.link.recv()}")(*self.link.recv())
        except (EOFError, OSError):
            return self._after()
        return self

    def kill(self) -> None:
        """End it before its time, with all that its tests have started."""
        os.kill(self._pid, signal.SIGINT)
        ended(self._pid)

    def _idle(self) -> None:
        group = self.waiting.popleft() if self.waiting else []
        self.left.extend(group)
        self.link.send(group)

    def _ran(self) -> None:
        self.left.popleft()

    def _report(self, said: dict[str, Any]) -> None:
        hook, config = self.session.config.hook, self.session.config
        hook.pytest_runtest_logreport(report=hook.pytest_report_from_serializable(config=config, data=said))

    def _warning(self, said: dict[str, Any]) -> None:
        self.session.config.hook.pytest_warning_recorded.call_historic(kwargs=said)

    def _fault(self, said: str) -> None:
        self.session.shouldfail = said

    def _after(self) -> "_Worker | None":
        status = ended(self._pid)
        self.link.close()
        if not self.left:
            return None
        item = self.session.items[self.left.popleft()]
        report = pytest.TestReport(
            item.nodeid, item.location, {}, "failed", f"the worker ended with status {status} in this test", "call"
        )
        item.ihook.pytest_runtest_logreport(report=report)
        if self.left:
            self.waiting.appendleft(list(self.left))
        return _Worker(self.session, self.waiting)


def _work(session: pytest.Session, link: Connection) -> None:
    config = session.config
    told = _Told(config, link, config.get_terminal_writer())
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(told, "terminalreporter")
    if (capture := config.pluginmanager.get_plugin("capturemanager")) is not None:
        # Its files are the first process's: what two workers wrote there would be mixed.
        capture.stop_global_capturing()
        capture.start_global_capturing()
        capture.suspend_global_capture()
    given = _given(link)
    current = next(given, None)
    try:
        while current is not None:
            following = next(given, None)
            upcoming = None if following is None else session.items[following]
            item = session.items[current]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=upcoming)
            _say(link, "ran")
            current = following
        # Raises what was found when nothing could be told any more.
        config._ensure_unconfigure()
    except KeyboardInterrupt:
        session._setupstate.teardown_exact(None)
    except BaseException:
        _say(link, "fault", traceback.format_exc())


def _given(link: Connection) -> Iterator[int]:
    while True:
        _say(link, "idle")
        if not (group := link.recv()):
            return
        yield from group


def _say(link: Connection, what: str, *said: object) -> None:
    link.send(what)
    link.send(said)


@dataclass(eq=False)
class _Told:
    """A plugin of a worker's pytest, which tells the first process what it would print.

    Attributes:
        config: pytest's.
        link: to the first process.
        _tw: what other plugins write to, as they find it at the one in whose place it is.
    """

    config: pytest.Config
    link: Connection
    _tw: object

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        _say(self.link, "report", said)

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        warning_message.source = None
        _say(
            self.link,
            "warning",
            {"warning_message": warning_message, "when": when, "nodeid": nodeid, "location": location},
        )
