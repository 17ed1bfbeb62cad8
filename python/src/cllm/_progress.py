"""The bar of a long call: tqdm's where it is installed, in a notebook too, else a line of our own."""

import sys
import time
from typing import Any, Optional


class Bar:
    """Shows how far something is, on stderr."""

    def __init__(self, total: float, unit: str, shown: Optional[bool]) -> None:
        self._bar: Any = None
        self._total, self._done, self._unit = total, 0.0, unit
        self._drawn = 0.0
        self._line = False
        interactive = sys.stderr.isatty() or "ipykernel" in sys.modules
        if not (interactive if shown is None else shown):
            return
        try:
            from tqdm.auto import tqdm
        except ImportError:
            self._line = True
            return
        whole = unit != "s"
        layout = None if whole else "{l_bar}{bar}| {n:.0f}/{total:.0f} s {postfix}"
        self._bar = tqdm(total=total, unit=unit, bar_format=layout, dynamic_ncols=True)

    def advance(self, amount: float, remark: str) -> None:
        """Is so much further, with something to tell."""
        self._done += amount
        if self._bar is not None:
            self._bar.set_postfix_str(remark, refresh=False)
            # A call may take longer than there was time left.
            self._bar.update(min(amount, max(0.0, self._bar.total - self._bar.n)))
        elif self._line and time.monotonic() - self._drawn > 0.2:
            self._draw(remark)

    def _draw(self, remark: str) -> None:
        self._drawn = time.monotonic()
        print(f"\r{self._done:.0f} of {self._total:.0f} {self._unit}, {remark}\033[K", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves what was drawn."""
        if self._bar is not None:
            self._bar.close()
        elif self._line and self._drawn:
            print(file=sys.stderr)
