"""Programs of a checkout in processes that are forked after the slow imports: a run costs a second, not four."""

import contextlib
import gc
import importlib.util
import json
import os
import runpy
import signal
import sys
import warnings

SECONDS = 900  # a program that takes longer is ended; the first one may compile the fused operators


def preload():
    """What every program imports anyway, and nothing that computes."""
    for module in ('propeller.graph', 'paddle', 'matplotlib.pyplot', 'scipy.stats', 'tensorboardX'):
        with contextlib.suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            __import__(module)
    gc.collect()
    gc.freeze()  # collecting in a child would copy all of this memory


def next_job():
    """In the parent None when there are no more; in a child what it is to run."""
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return job
        _, status, usage = os.wait4(pid, 0)
        print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, flush=True)
    return None


def run(job, checkout):
    """Be that program. Ends as it ends."""
    signal.alarm(SECONDS)
    modes = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for fd, (path, mode) in enumerate(zip((job['stdin'], job['stdout'], job['stderr']), modes, strict=True)):
        opened = os.open(path, mode, 0o644)
        os.dup2(opened, fd)
        os.close(opened)
    sys.stdin = open(0, encoding='utf-8', closefd=False)  # noqa: SIM115 (the one of the parent has read ahead)
    program, *arguments = (part.replace('{checkout}', checkout) for part in job['argv'])
    if program == '-m':
        names = arguments[0].split('|')
        found = next((name for name in names if importlib.util.find_spec(name)), names[0])
        sys.argv = [found, *arguments[1:]]
        runpy.run_module(found, run_name='__main__', alter_sys=True)
        return
    path = program if os.path.exists(program) else os.path.join(checkout, program)
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name='__main__')


def serve(checkout):
    """Run what standard input says: a line of JSON `{"argv", "stdin", "stdout", "stderr"}` a program.

    argv: `-m` and a module (`NEW|OLD` for one that was renamed), or a program's file, of the checkout where there is
    none of that name; then its flags, in which `{checkout}` stands for its folder. Prints a line `exit code, processor
    seconds` when the program has ended.
    """
    sys.path[0] = checkout
    preload()
    job = next_job()
    if job is not None:
        run(job, checkout)
