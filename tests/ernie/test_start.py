"""Where a training starts, and what its folder holds beside the checkpoints."""

from types import SimpleNamespace

from ernie.run.start import folder_of
from propeller.distribution import ProcessInfo, World


def test_the_best_of_an_older_run_counts_as_its_checkpoint(tmp_path):
    """Also where the new run keeps none: it would be taken for that of the new run."""
    args, world = SimpleNamespace(checkpoints=str(tmp_path), max_checkpoints=0), World(ProcessInfo())
    (tmp_path / 'best').mkdir()
    (tmp_path / 'best/notes.txt').write_text('mine')
    assert folder_of(args, world, keep_best=False).beside == ()
    assert folder_of(args, world, keep_best=True).beside == ('best',)
    (tmp_path / 'best/training_state.json').write_text('{"global_step": 3}')
    assert folder_of(args, world, keep_best=False).beside == ('best',)
