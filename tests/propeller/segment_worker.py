"""`python -m tests.propeller.segment_worker`: which of three sessions of a job add up through memory that is shared."""

from propeller.distribution import join
from propeller.session import Session

if __name__ == '__main__':
    world = join()
    for own in ('auto', 'auto' if world.rank else 'false', 'false'):
        print(Session(seed=1, world=world, fused_ops=own)._segment is not None)
