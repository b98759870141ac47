"""Sounds that are made whether or not somebody looks: a tab that is loaded anew finds them going on."""

import threading
from collections.abc import Generator
from pathlib import Path

from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.models import Models
from distill.ui.sound_jobs import SoundOrder, make

# More than these leave the page; their files stay.
MOST_SHOWN = 48


class Job:
    """An order that is made in a thread of its own. Each sound lies on the desk as soon as it is there.

    Attributes:
        count: how many sounds were ordered.
        folder: where they lie; None: none is there yet.
        stopped: whether somebody asked to stop, which ends it after the sound that is being made.
    """

    def __init__(self, order: SoundOrder, context: Context, models: Models, desk: Desk) -> None:
        self.count = order.count
        self.folder: Path | None = None
        self.stopped = False
        self._changed = threading.Condition()
        self._made, self._over = 0, False
        self._error: Exception | None = None
        threading.Thread(target=self._run, args=(order, context, models, desk), name="job", daemon=True).start()

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self._over

    def stop(self) -> None:
        """Make no further sound."""
        self.stopped = True

    def follow(self) -> Generator[int]:
        """How many sounds are made, whenever there are more, until nothing more comes.

        Raises:
            DistillError: what went wrong.
        """
        seen = 0
        while (made := self._after(seen)) > seen:
            seen = made
            yield seen
        if self._error is not None:
            raise self._error

    def _after(self, seen: int) -> int:
        """How many sounds are made once there are more than so many, or nothing more comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._made > seen or self._over)
            return self._made

    def _run(self, order: SoundOrder, context: Context, models: Models, desk: Desk) -> None:
        keys: set[str] = set()
        error = None
        making = make(order, context, models, desk)
        try:
            for result in making:
                with desk.lock:
                    # Behind those that were made before it, of which some may be dropped by now.
                    place = sum(each.key in keys for each in desk.results)
                    desk.results = (*desk.results[:place], result, *desk.results[place:])[:MOST_SHOWN]
                keys.add(result.key)
                self.folder = result.path.parent
                self._tell(made=len(keys))
                if self.stopped:
                    break
        except Exception as caught:  # noqa: BLE001, whoever follows it gets it
            error = caught
        finally:
            making.close()
            self._tell(made=len(keys), over=True, error=error)

    def _tell(self, *, made: int, over: bool = False, error: Exception | None = None) -> None:
        with self._changed:
            self._made, self._over, self._error = made, over, error
            self._changed.notify_all()
