"""The time of a program without inputs."""

import statistics
import time


def clock(form, repeats, build, copies=1):
    """Median seconds of one copy of what a program computes.

    Args:
        form: `fused` or `plain`.
        repeats: runs; one more comes first and is not counted.
        build: function -> value to fetch.
        copies: how often the program computes it.
    """
    from propeller import ops
    from propeller.session import Session

    session = Session(seed=1)
    with ops.use('true' if form == 'fused' else 'false'):
        program = session.build([], build)
    session.initialize(program)
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        session.run(program, [], [program.outputs])
        taken.append((time.perf_counter() - start) / copies)
    return statistics.median(taken[1:])
