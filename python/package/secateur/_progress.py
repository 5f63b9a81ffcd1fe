"""Progress of a command, shown by ``tqdm`` or what looks like it."""

from __future__ import annotations

from typing import Any, Callable, Optional, Protocol, Union


class Bar(Protocol):
    """What is asked of a bar, as of ``tqdm.tqdm``."""

    def update(self, n: int) -> object: ...
    def close(self) -> object: ...


#: ``tqdm.tqdm``, ``tqdm.notebook.tqdm`` or alike; ``True`` for ``tqdm.auto.tqdm``.
Progress = Union[None, bool, Callable[..., Bar]]


class Bars:
    """One bar for each piece of work, one after the other."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._bar: Any = None
        self._at: tuple[str, int, int] = ("", 0, 0)

    def __call__(self, what: str, done: int, total: int, note: str) -> None:
        before = self._at
        if self._bar is None or (what, total) != (before[0], before[2]) or done < before[1]:
            self.close()
            self._bar = self._make(total=total, desc=what)
            before = (what, 0, total)
        if note and hasattr(self._bar, "set_postfix_str"):
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - before[1])
        self._at = (what, done, total)

    def close(self) -> None:
        """Ends the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def bars(progress: Progress) -> Optional[Bars]:
    """What shows the progress, if anything does."""
    if progress is None or progress is False:
        return None
    if progress is True:
        from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]

        return Bars(tqdm)
    return Bars(progress)
