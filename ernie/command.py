"""The command `ernie`: verbs, each a line of help and the function that takes its flags.

Nothing that a verb needs is imported before the verb is known: `ernie --help` is there at once.
"""

import difflib
import sys
from pkgutil import resolve_name
from typing import NamedTuple

from ernie.tasks import table


class Verb(NamedTuple):
    """about: a line for `ernie --help`. place: 'module:name' of a function of (argv, prog). first: goes before argv."""

    about: str
    place: str
    first: tuple = ()


VERBS = {
    'quickstart': Verb(
        'fine-tune a real Chinese encoder on real reviews, and predict: minutes', 'ernie.quickstart.__main__:main'
    ),
    'finetune': Verb(
        'a model of your own: ernie finetune FILE finds out what the file is for', 'ernie.programs:OWN_DATA.main'
    ),
    **{f'finetune {t.verb}': Verb(t.about, f'ernie.programs:OWN_DATA_AS.{t.verb}.main') for t in table.specs()},
    'distill': Verb(
        'a small model that learns from the layers and the answers of a large one', 'ernie.programs:DISTILL.main'
    ),
    'predict': Verb('answers for texts, files or standard input (infer_classifyer.py)', 'ernie.programs:PREDICT.main'),
    'export': Verb('a checkpoint as inference model of Paddle or ONNX', 'ernie.programs:EXPORT.main'),
    'encode': Verb('vectors of texts and tokens as NumPy files (ernie_encoder.py)', 'ernie.programs:ENCODE.main'),
    'serve': Verb('models behind HTTP and ZeroMQ, until they are stopped', 'ernie.programs:SERVE.main'),
    'compare': Verb('two or more runs: scores, settings, curves, chance', 'ernie.report.compare:main'),
    'score': Verb('EM and F1 of a file of answers, as CMRC 2018 or SQuAD do', 'ernie.metrics.mrc:main'),
    'pretrain': Verb('ERNIE 1.0 and 2.0 from sample files (train.py)', 'ernie.programs:PRETRAIN.main'),
    'pretrain elmo': Verb('ELMo, two language models over words, from texts', 'ernie.programs:PRETRAIN_ELMO.main'),
    'build-vocab': Verb('a vocabulary out of raw text', 'ernie.pretrain.build_vocab:main'),
    'build-subword': Verb(
        'words, pieces and vocabulary of ERNIE tiny out of raw text', 'ernie.pretrain.build_subword:main'
    ),
    'word-list': Verb("ERNIE tiny's word dictionary as plain text", 'ernie.pretrain.word_list:main'),
    'build-data': Verb('sample files for pre-training out of raw text', 'ernie.pretrain.build_data:main'),
    'demo-data': Verb('sample files to try pre-training with', 'ernie.pretrain.demo_data:main'),
    'launch': Verb('finetune or pretrain in several processes: ernie launch [flags] VERB ...', 'ernie.command:launch'),
    'list': Verb('the released models and data, and which are here', 'ernie.zoo:main', ('list',)),
    'download': Verb('fetch and unpack one of them', 'ernie.zoo:main', ('download',)),
    'inspect': Verb('what is in a model, whatever its format', 'ernie.checkpoint.__main__:main', ('inspect',)),
    'convert': Verb('a model in another format, e.g. Hugging Face', 'ernie.checkpoint.__main__:main', ('convert',)),
    'completion': Verb('completion of verbs and flags for bash, zsh or fish', 'ernie.completion:main'),
    'ops': Verb('the fused operators of this machine: status, build, check', 'propeller.ops.__main__:main'),
}


def launch(argv, prog):
    """The launcher, for scripts and for the verbs that know of several processes. Returns the exit code."""
    from propeller.launch.command import build_parser, main, split_arguments

    _, word, following = split_arguments(build_parser(prog=prog), argv)
    commands = {'finetune': 'ernie', 'distill': 'ernie', 'pretrain': 'ernie'}
    if word in commands:
        find_verb([word, *following])
    return main(argv, prog=prog, commands=commands)


def help_text():
    """What `ernie --help` prints."""
    width = max(map(len, VERBS))
    lines = [f'  {name:{width}}  {verb.about}' for name, verb in VERBS.items()]
    return '\n'.join(['usage: ernie VERB [flags]', '', *lines, '', 'ernie VERB --help lists the flags of a verb.'])


def find_verb(argv):
    """The name of the verb with which a command line begins.

    Raises:
        UsageError: there is none; the text names the nearest.
    """
    from propeller.errors import UsageError, quoted

    for count in (2, 1):
        name = ' '.join(argv[:count])
        if name in VERBS:
            return name
    if not argv:
        raise UsageError('no verb is given. ernie --help lists all.')
    names = {word: name for name in VERBS for word in (name, name.split()[-1])}
    near = difflib.get_close_matches(argv[0], names, 1)
    hint = f' Did you mean {names[near[0]]}?' if near else ''
    raise UsageError(f'{quoted(argv[0])}: unknown verb.{hint} ernie --help lists all.')


def main(argv):
    """Run a command line, without the name of the command. Returns the exit code.

    Raises:
        UserError: anything that the user can mend.
    """
    if argv[:1] in (['-h'], ['--help']):
        print(help_text())
        return 0
    if argv[:1] == ['--version']:
        from propeller.versions import versions

        print(versions())
        return 0
    name = find_verb(argv)
    verb = VERBS[name]
    prog = 'ernie' if verb.first else f'ernie {name}'
    return resolve_name(verb.place)([*verb.first, *argv[len(name.split()) :]], prog) or 0


def program():
    """The command: `main` with its errors as one line each. Returns the exit code."""
    from propeller.errors import one_line_errors

    with one_line_errors():
        return main(sys.argv[1:])
