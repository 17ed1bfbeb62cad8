"""Who may use a model: any number of threads that read it, or one that changes it."""

import threading
from contextlib import contextmanager
from typing import Dict, Iterator, Optional


class SharedLock:
    """Waits, as a lock does. The thread that changes the model may read it meanwhile (a callback of
    training that generates); one that reads may not change it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers: Dict[int, int] = {}
        self._writer: Optional[int] = None
        self._depth = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """For calls that read."""
        me = threading.get_ident()
        with self._changed:
            while self._writer not in (None, me):
                self._changed.wait()
            self._readers[me] = self._readers.get(me, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._readers[me] -= 1
                if not self._readers[me]:
                    del self._readers[me]
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """For calls that change."""
        me = threading.get_ident()
        with self._changed:
            if me in self._readers and self._writer != me:
                raise RuntimeError("a model can't be changed by what is called while it is read")
            while self._writer not in (None, me) or any(reader != me for reader in self._readers):
                self._changed.wait()
            self._writer = me
            self._depth += 1
        try:
            yield
        finally:
            with self._changed:
                self._depth -= 1
                if not self._depth:
                    self._writer = None
                self._changed.notify_all()
