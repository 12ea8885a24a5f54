"""One of n parts of a list of videos, so that as many jobs of a cluster each embed their own.

Every job divides the same list in the same way, so no job needs to know of another.
"""

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from surgvl.core.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """The part `index` of `count`, from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str, flag: str = "--shard") -> Self:
        """The part that `2/8` names; empty: all.

        Raises:
            ConfigError: it is not of this form, or 9 of 8.
        """
        if not text:
            return cls()
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"{flag} must be i/n with 1 <= i <= n, such as 2/8, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    @property
    def is_all(self) -> bool:
        """Whether there is one part only."""
        return self.count == 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, durations_s: Sequence[float]) -> list[int]:
        """Places of the videos of this part, ascending: the longest first, each to the part with the least so far.

        Args:
            durations_s: of all videos, in the order that all jobs have.

        Raises:
            ConfigError: there are more parts than videos.
        """
        if self.count > len(durations_s):
            raise ConfigError(f"--shard {self}: there are {len(durations_s)} videos, for no more shards than that")
        loads = [(0.0, index) for index in range(1, self.count + 1)]
        mine = []
        for place in sorted(range(len(durations_s)), key=lambda place: (-durations_s[place], place)):
            load, index = loads[0]
            # A video without a length counts, too, so that no part stays empty.
            heapq.heapreplace(loads, (load + max(durations_s[place], 1e-3), index))
            if index == self.index:
                mine.append(place)
        return sorted(mine)
