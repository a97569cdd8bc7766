"""A signal that comes as late as it can: behind the main thread's last look at signals, while it waits in the system.

That moment can't be met from outside. It looks the same when the system has another thread run the handler: the note
is made, and nothing interrupts the main thread.
"""

import dis
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType


@contextmanager
def sending(number: signal.Signals, waiting: CodeType, rescue: Callable[[], None]) -> Iterator[list[str]]:
    """Send a signal once the main thread waits in a call that `waiting` makes.

    Gives a list that is empty as long as the wait did not have to be ended by `rescue`, after a while.
    """
    main, rescued, ended = threading.get_ident(), [], threading.Event()

    def send() -> None:
        while not _is_in_call(sys._current_frames().get(main), waiting):
            if ended.wait(0.001):
                return
        signal.pthread_kill(threading.get_ident(), number)
        if not ended.wait(20):
            rescued.append("nothing had ended the wait")
            rescue()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield rescued
    finally:
        ended.set()
        sender.join()


def _is_in_call(frame: FrameType | None, code: CodeType) -> bool:
    """Say whether a thread is inside of a C function called from `code`: Python looks at signals when that is over."""
    if frame is None or frame.f_code is not code:
        return False
    return dis.opname[code.co_code[frame.f_lasti]].startswith("CALL")
