"""How a program was started, and the command that goes on with an interrupted training."""

import os
import shlex
import shutil
import sys

from ernie.tasks import table

_PRETRAINING = 'train.py'


def program_style():
    """How the process was started: 'verb', 'program' (of 2019), or 'call'."""
    file = os.path.basename(sys.argv[0]) if sys.argv else ''
    if file in {_PRETRAINING, *(spec.program for spec in table.specs())}:
        return 'program'
    folder = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0]))) if sys.argv else ''
    return 'verb' if file == 'ernie' or (file, folder) == ('__main__.py', 'ernie') else 'call'


def ernie_words():
    """The words that start the command `ernie` here."""
    return ['ernie'] if shutil.which('ernie') else ['python', '-m', 'ernie']


def resume_command(args, world):
    """The command, or what to do, that goes on with an interrupted run. args: settings with `checkpoints`."""
    style = program_style()
    if world.size > 1 or style == 'call':
        return f'the same again with {"resume=True" if style == "call" else "--resume true"}'
    words = ['python', sys.argv[0]] if style == 'program' else ernie_words()
    further = _without(sys.argv[1:], ('--overwrite_checkpoints', '--resume'))
    if '--checkpoints' not in ' '.join(further):
        further += ['--checkpoints', args.checkpoints]
    return shlex.join([*words, *further, '--resume', 'true'])


def _without(words, flags):
    """A command line without some flags and their values."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in flags:
            skip = True
        elif word.partition('=')[0] not in flags:
            kept.append(word)
    return kept
