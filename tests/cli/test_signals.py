"""A signal ends what the command waits for, also when it comes just before the wait."""

import os
import queue
import signal
import socket
import threading

import pytest

from backuppeer.cli.signals import heeding_signals
from cli.late_signals import sending


def wait_for_news(news):
    return news.get()


def wait_for_bytes(end):
    return end.recv(1)


def test_ctrl_c_ends_a_wait_for_a_queue_that_it_came_too_early_to_interrupt():
    news = queue.SimpleQueue()
    with (
        sending(signal.SIGINT, wait_for_news.__code__, lambda: news.put(None)) as rescued,
        pytest.raises(KeyboardInterrupt),
        heeding_signals(),
    ):
        wait_for_news(news)
    assert rescued == []


def test_ctrl_c_ends_a_wait_for_a_socket_that_it_came_too_early_to_interrupt():
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        sending(signal.SIGINT, wait_for_bytes.__code__, lambda: theirs.send(b"x")) as rescued,
        pytest.raises(KeyboardInterrupt),
        heeding_signals(),
    ):
        wait_for_bytes(ours)
    assert rescued == []


def test_a_signal_is_handled_once_and_the_wait_goes_on_if_its_handler_wants_that():
    news, handled = queue.SimpleQueue(), []

    def handle(number, _):
        handled.append(number)
        news.put("handled")

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with sending(signal.SIGUSR1, wait_for_news.__code__, lambda: news.put("")) as rescued, heeding_signals():
            assert wait_for_news(news) == "handled"
        assert (handled, rescued) == ([signal.SIGUSR1], [])
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_afterwards_all_is_as_it_was():
    def look():
        writer = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(writer)
        threads = [thread.name for thread in threading.enumerate() if thread.name == "signals"]
        return writer, signal.getsignal(signal.SIGURG), threads

    before = look()
    with heeding_signals():
        writer, *_ = look()
        assert writer != before[0]
    assert look() == before
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(writer, b"x")


def test_in_another_thread_it_does_nothing():
    seen = []

    def run():
        with heeding_signals():
            seen.append(signal.getsignal(signal.SIGURG))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
