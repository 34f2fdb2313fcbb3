import signal
import subprocess
import sys
import threading
import time

import pytest

from parley.engine.alarm import Alarm, Overrun


@pytest.fixture
def alarm(monkeypatch):
    monkeypatch.setattr("parley.engine.alarm.MAX_RUN_S", 0.05)
    monkeypatch.setattr("parley.engine.alarm._LOOK_S", 0.01)
    before, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    alarm = Alarm()
    alarm.install()
    yield alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *timer)  # the test runner's own, if it has one


def spin():
    while True:
        pass


def test_what_never_ends_is_ended(alarm):
    alarm.arm()

    with pytest.raises(Overrun):
        spin()


def test_what_waits_in_the_kernel_is_ended_too(alarm):
    alarm.arm()

    with pytest.raises(Overrun):
        time.sleep(30)


def test_an_alarm_that_is_disarmed_does_not_ring(alarm):
    alarm.arm()
    alarm.disarm()

    time.sleep(0.1)


def test_a_ring_that_comes_late_ends_nothing(alarm):
    alarm.arm()
    alarm.disarm()

    signal.raise_signal(signal.SIGALRM)


def test_a_ring_that_comes_early_ends_nothing(alarm, monkeypatch):
    monkeypatch.setattr("parley.engine.alarm.MAX_RUN_S", 1000.0)
    alarm.arm()

    signal.raise_signal(signal.SIGALRM)


def test_outside_the_main_thread_there_is_no_alarm():
    alarm = Alarm()
    before = signal.getsignal(signal.SIGALRM)
    timer = signal.getitimer(signal.ITIMER_REAL)
    thread = threading.Thread(target=alarm.install)
    thread.start()
    thread.join()

    alarm.arm()

    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[1] == timer[1]


ENDS_SLOWLY = """
import time
from parley.engine.alarm import ALARM

class EndsSlowly:
    def __del__(self, sleep=time.sleep):
        sleep(1.0)  # longer than it takes to ring

ALARM.install()
one = EndsSlowly()
"""


def test_a_process_that_takes_long_to_end_is_not_killed_by_its_alarm():
    assert subprocess.run([sys.executable, "-c", ENDS_SLOWLY], check=False).returncode == 0
