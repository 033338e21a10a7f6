"""Starts a program and stays behind to kill its process group when the launcher is gone.

Run by path, as `python watchdog.py FD SCRIPT [ARGUMENT ...]`, in a process group of its own. FD is the reading end of a
pipe that the launcher holds open: it ends when the launcher does, whatever way that happens. A kernel's parent-death
signal would reach the program only, and not the processes that the program has started.
"""

import os
import signal
import sys


def watch(launcher):
    """Wait for the end of the launcher, then end the group, this process included."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a stop of the group is meant for the program
    with open(os.devnull, 'r+b') as nothing:
        for stream in range(3):
            os.dup2(nothing.fileno(), stream)  # else whoever reads the program's output waits for this process too
    while os.read(launcher, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main():
    launcher = int(sys.argv[1])
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            watch(launcher)
        os._exit(0)  # the watchdog must not be a child of the program, which may wait for all it has
    os.waitpid(child, 0)
    os.close(launcher)
    # A shell starts background jobs with Ctrl-C ignored; the program shall still see the one that is forwarded to it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, '-u', *sys.argv[2:]])


if __name__ == '__main__':
    main()
