"""Where a training starts: from random values, or from a checkpoint, which must belong to the same data."""

import os

from propeller.errors import UsageError, bad_input, quoted
from propeller.log import get_logger
from propeller.train.checkpoint import BEST, STATE, Checkpoints
from propeller.train.run_folder import RunFolder

log = get_logger(__name__)


def advice_to_start_over(checkpoint):
    """What to do, in a sentence or two, when a training cannot continue from a checkpoint."""
    return (
        'Continue with what the checkpoint was made with, or start a new training from its parameters: '
        f'--init_pretraining_params {checkpoint} and another --checkpoints.'
    )


def folder_of(args, world, keep_best=True, lean=False):
    """The `RunFolder` of the settings of a training.

    keep_best: whether the best checkpoint is kept in it. lean: where not all checkpoints are kept, the optimizer's
    state stays in the newest alone.
    """
    # The best checkpoint of an older run must not stay beside the checkpoints of this one.
    has_best = keep_best or os.path.isfile(os.path.join(args.checkpoints, BEST, STATE))
    checkpoints = Checkpoints(args.checkpoints, keep=args.max_checkpoints, lean=lean and args.max_checkpoints > 0)
    return RunFolder(checkpoints, world, beside=(BEST,) if has_best else ())


def start_of(args, folder):
    """The checkpoint that a training of the flags starts from, None for none; says so. folder: its `RunFolder`, held.

    Raises:
        UserError: see `RunFolder.choose`.
    """
    names = ('init_pretraining_params', 'ernie_config_path', 'vocab_path', 'teacher')
    sources = (*(getattr(args, name, None) for name in names), *getattr(args, 'subword', ()))
    start = folder.choose(args.resume, args.overwrite_checkpoints, args.init_checkpoint, sources)
    if args.resume:
        log.info('resume: %s', start or f'no checkpoint in {args.checkpoints} yet, starting anew')
    return start


def check_same_file(path, digest, state, checkpoint):
    """Where training continues. Raises: UserError: the training file is not the one it was made with.

    digest: of the file; that of the checkpoint stands in its `state`, a dict, since runs record it.
    """
    before = state.get('train_file')
    if before is not None and before != digest:
        raise bad_input(
            path, 'another content', f'the training file of {checkpoint}', advice=advice_to_start_over(checkpoint)
        )


def check_same_share(share, state, checkpoint):
    """Where training continues. Raises: UsageError: it held out another share of the training rows."""
    before = state.get('dev_share', 0.0)
    if before != share:
        shown = f'{before:g}' if isinstance(before, int | float) else quoted(before)
        raise UsageError(f'--dev_share {share:g}: {checkpoint} was trained with {shown}, and would be scored on rows '
                         'that it has learnt.')  # fmt: skip
