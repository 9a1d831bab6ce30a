"""How many at once: decides, period by period, what fanout finishes soonest.

More sessions at once finish sooner until something is used up: the processors here, a server that
takes only so many logins at once (MaxStartups), or whatever all nodes share behind their doors.
None of these can be known before, and each shows in another way, so there are four rules. The
first that applies decides.

1. *It hurts*: ways take several times as long to open as they did at best, or clearly more nodes
   fail than did before. Take 3 of 10 sessions away, and wait a while. A share of dead nodes that
   stays the same is no reason.
2. *It does not help*: once as many nodes have ended as ran at once, what ended in a second is
   compared with before. When half as many again at once have not brought a tenth more, go
   back to what would have done: by Little's law, what ends in a second times the time that a
   node takes where none waits for another. Should that turn out to be too few, go back to what
   was better.
3. *It cannot help*: the processors are busy. Stay.
4. *It may help*: all places are taken. Add a quarter; and once it has hurt or not helped, only
   two whenever as many nodes have ended as run at once.

Rules 1 and 4 are those of TCP (a fast start, then additive increase and multiplicative decrease:
Jacobson, "Congestion avoidance and control", 1988), and rule 2 is the idea of its Vegas variant
(Brakmo and Peterson, 1995): what more load does not speed up only waits somewhere else. Pure: it
knows no clock and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

# With so many it begins, if that is not above the bound.
START = 16

# 1. A way is slow when it takes so many times the best, and so many seconds more.
_SLOW_TIMES = 2.5
_SLOW_SECONDS = 0.2
_SEEN_LEAST = 3  # as many must have opened, or ended, in a period for a mean to say anything
# More fail than before: this share of those that ended, above the usual one, and so many.
_FAILED_MORE = 0.25
_FAILED_LEAST = 3
_USUAL_WEIGHT = 0.2  # of a period's share in the usual one
_BACK_OFF = 0.7
_HURT_SECONDS = 1.0

# 2. So much more at once must bring so much more.
_MORE_AT_ONCE = 1.5
_MORE_DONE = 1.1
_ENDED_LEAST = 16
_LESS_DONE = 0.9
_SPARE = 1.25  # more than Little's law asks for
_FEWEST = 1 / 3  # of what ran at once before
_VAIN_SECONDS = 5.0

# 3. The processors are busy.
_BUSY = 0.9
_LOAD_WEIGHT = 0.4

# 4.
_GROWTH = 0.25
_AHEAD = 4.0
_ADDED = 2.0


@dataclass(frozen=True, slots=True)
class Period:
    """What was seen between two judgements.

    Attributes:
        seconds: how long it was; above 0.
        full: at its end nodes waited for a place.
        running: how many had one then.
        opened: how many ways were opened, and
        opening_seconds: how long that took them, on average; 0 if there were none.
        ended: how many nodes ended, in whatever way, and
        node_seconds: how long they had their places, on average; 0 if there were none.
        failed: how many of these never began.
        load: how busy the processors were that this program needs, from 0 to 1.
    """

    seconds: float
    full: bool
    running: int
    opened: int = 0
    opening_seconds: float = 0.0
    ended: int = 0
    node_seconds: float = 0.0
    failed: int = 0
    load: float = 0.0


class Governor:
    """The fanout of a Task that asks for none in particular.

    Args:
        most: the bound that is never exceeded, 1 or more.

    Attributes:
        fanout: what it is now; from 1 to `most`.
    """

    def __init__(self, most: int) -> None:
        self.fanout = min(START, most)
        self._most = most
        self._load = 0.0
        self._quickest: float | None = None  # opening, on average, in the best period
        self._shortest: float | None = None  # a node's place, on average, in the best period
        self._usual: float | None = None  # share of nodes that fail
        self._pause = 0.0  # so many seconds nothing is added
        self._careful = False  # it has hurt, or was in vain
        self._added = 0.0  # what is to be added, before it is a whole one
        self._best: tuple[float, float] | None = None  # at once, and ended in a second
        self._begin_round()

    def judge(self, period: Period) -> int:
        """Take in what was seen, and return the fanout from now on."""
        self._load += _LOAD_WEIGHT * (period.load - self._load)
        self._pause = max(0.0, self._pause - period.seconds)
        hurts = self._hurts(period)
        better = self._finish_round(period)
        if hurts:
            self._move(self.fanout * _BACK_OFF, _HURT_SECONDS)
        elif better is not None:
            self._move(better, _VAIN_SECONDS)
        elif period.full and not self._pause and self._load < _BUSY:
            self._grow(period)
        return self.fanout

    def _hurts(self, period: Period) -> bool:
        slow = False
        if period.opened >= _SEEN_LEAST:
            best = self._quickest
            if best is None or period.opening_seconds < best:
                self._quickest = period.opening_seconds
            else:
                slow = period.opening_seconds > max(_SLOW_TIMES * best, best + _SLOW_SECONDS)
        more = False
        if period.ended:
            share = period.failed / period.ended
            usual = share if self._usual is None else self._usual
            more = period.failed >= _FAILED_LEAST and share > usual + _FAILED_MORE
            self._usual = usual + _USUAL_WEIGHT * (share - usual)
        return (slow or more) and not self._pause

    def _begin_round(self) -> None:
        self._seconds = 0.0
        self._ended = 0
        self._places = 0.0  # taken, times seconds
        self._due = max(_ENDED_LEAST, self.fanout)

    def _finish_round(self, period: Period) -> float | None:
        """The fanout to go to, if the last round has shown that another is better."""
        if period.ended >= _SEEN_LEAST:
            shortest = self._shortest
            if shortest is None or period.node_seconds < shortest:
                self._shortest = period.node_seconds
        # What ends when there are fewer, or still more than there should be, says nothing.
        if not period.full or period.running > self.fanout:
            self._begin_round()
            return None
        self._seconds += period.seconds
        self._ended += period.ended
        self._places += period.seconds * period.running
        if self._ended < self._due:
            return None
        at_once, rate = self._places / self._seconds, self._ended / self._seconds
        self._begin_round()
        return self._compare(at_once, rate)

    def _compare(self, at_once: float, rate: float) -> float | None:
        if self._best is None:
            self._best = at_once, rate
            return None
        best_at_once, best_rate = self._best
        if rate >= _MORE_DONE * best_rate:
            self._best = at_once, rate
        elif at_once >= _MORE_AT_ONCE * best_at_once:
            enough = _SPARE * best_rate * (self._shortest or 0.0)
            return min(best_at_once, max(enough, _FEWEST * best_at_once))
        elif at_once <= best_at_once:
            if rate < _LESS_DONE * best_rate:
                # Once: what is done may have become more work since then.
                self._best = at_once, rate
                return best_at_once
            self._best = at_once, max(rate, best_rate)
        return None

    def _move(self, fanout: float, pause: float) -> None:
        self._careful = True
        self._set(fanout)
        self._pause = pause
        self._begin_round()

    def _grow(self, period: Period) -> None:
        if self._careful:
            self._added += _ADDED * period.ended / self.fanout
            self._set(self.fanout + int(self._added))
            self._added %= 1.0
        else:
            # No further beyond what is known than can be gone back from soon.
            known = self._best[0] if self._best is not None else self._most
            more = self.fanout + max(1.0, _GROWTH * self.fanout)
            self._set(max(self.fanout, min(more, _AHEAD * known)))

    def _set(self, fanout: float) -> None:
        self.fanout = max(1, min(self._most, round(fanout)))
