"""The two files that ERNIE tiny's tokenizer needs beside the vocabulary, and their place in a model folder."""

import hashlib
import os
from typing import NamedTuple

from ernie.tokenizers.word_list import load_word_dict, words_as_text, words_sum
from propeller.errors import UsageError, UserError, bad_input
from propeller.inputs import read_bytes
from propeller.log import get_logger

log = get_logger(__name__)

FOLDER = 'subword'
MODEL, PICKLED, PLAIN = 'spm_cased_simp_sampled.model', 'dict.wordseg.pickle', 'dict.wordseg.txt'
OFFICIAL_MODEL, PICKLED_WORDS, PLAIN_WORDS = f'{FOLDER}/{MODEL}', f'{FOLDER}/{PICKLED}', f'{FOLDER}/{PLAIN}'
WORDS = 'words'  # in a record, beside the names of the two files: the sum of the words
_MOST_BYTES = 1 << 27


class SubwordFiles(NamedTuple):
    """model: path of the sentencepiece model. words: path of the word dictionary, pickled or plain text."""

    model: str
    words: str

    def _read(self):
        model = read_bytes(self.model, _MOST_BYTES, 'a sentencepiece model')
        words = read_bytes(self.words, _MOST_BYTES, 'a word dictionary')
        name = PICKLED if words.startswith(b'\x80') else PLAIN
        return {f'{FOLDER}/{MODEL}': model, f'{FOLDER}/{name}': words}

    def sums(self):
        """dict place in a model folder -> SHA-256 of the file. Raises `UserError`: one cannot be read."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self._read().items()}

    def words_sum(self):
        """SHA-256 of the words, whatever their file looks like. Raises `UserError`: it cannot be read."""
        return words_sum(load_word_dict(self.words))

    def contents(self, sums, exported=False):
        """dict place in a model folder -> bytes.

        Args:
            sums: what `sums` gave when the tokenizer was made.
            exported: a pickled word dictionary becomes a plain text, which not only Python reads.
        Raises:
            UserError: a file cannot be read, or is not what it was then.
        """
        contents = self._read()
        for (name, content), path in zip(contents.items(), self, strict=True):
            if hashlib.sha256(content).hexdigest() != sums.get(name):
                raise bad_input(path, 'another content than at the start', 'a file that stays as it is')
        return self._without_pickle(contents) if exported else contents

    def _without_pickle(self, contents):
        if PICKLED_WORDS not in contents:
            return contents
        try:
            words = words_as_text(load_word_dict(self.words), self.words)
        except UserError as e:
            log.warning('%s The export keeps the pickle, which Python alone reads.', e)
            return contents
        return {OFFICIAL_MODEL: contents[OFFICIAL_MODEL], PLAIN_WORDS: words}


def in_folder(folder):
    """The `SubwordFiles` in the folder `subword` of a model folder; None where it has no such folder.

    Raises:
        UserError: one of the two is not there.
    """
    place = os.path.join(folder, FOLDER)
    return _inside(place) if os.path.lexists(place) else None


def _inside(place):
    dictionaries = [name for name in (PICKLED, PLAIN) if os.path.isfile(os.path.join(place, name))]
    if not os.path.isdir(place):
        raise bad_input(place, 'no folder', f'the folder of {MODEL} and {PICKLED} or {PLAIN}')
    if not os.path.isfile(os.path.join(place, MODEL)):
        raise bad_input(place, f'no {MODEL}', f'it, and {PICKLED} or {PLAIN}')
    if len(dictionaries) != 1:
        found = f'both {PICKLED} and {PLAIN}' if dictionaries else f'neither {PICKLED} nor {PLAIN}'
        raise bad_input(place, found, f'one of them, and {MODEL}')
    return SubwordFiles(os.path.join(place, MODEL), os.path.join(place, dictionaries[0]))


def beside(folder):
    """The `SubwordFiles` of a folder that has them beside its vocabulary, as PaddleNLP's do."""
    return _inside(folder)


def find_files(vocab_path):
    """The same for the folder that a vocabulary lies in."""
    return in_folder(os.path.dirname(os.fspath(vocab_path)) or '.')


def of_flags(model, words):
    """The `SubwordFiles` of `--sentence_piece_model` and `--word_dict`; None where neither is given.

    Raises:
        UsageError: one of them is missing.
    """
    if not (model or words):
        return None
    if not (model and words):
        given, missing = ('sentence_piece_model', 'word_dict') if model else ('word_dict', 'sentence_piece_model')
        raise UsageError(f'--{given}: found no --{missing}, expected both: they belong to ERNIE tiny.')
    return SubwordFiles(os.fspath(model), os.fspath(words))
