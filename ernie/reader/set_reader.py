"""From a file to a `TokenizedSet`, for all tasks: several processes, bounded memory, a cache, bad rows by line."""

import abc
import hashlib
import json
import os
import stat
import sys

from ernie.reader import (
    column_words,
    columnar,
    columns,
    dataset_folder,
    delimited,
    encoding,
    forms,
    json_records,
    naming,
    objects,
    records,
    text_keys,
)
from ernie.reader.columns import ColumnNames, Notices
from ernie.reader.dataset_folder import source_files
from ernie.reader.rows import BadRows, leave_out
from ernie.reader.tokenized_set import FORMAT_VERSION, SetCache, collect
from ernie.reader.warnings import Notes, say
from propeller.data.parallel import chunked, map_ordered
from propeller.errors import UsageError, bad_input
from propeller.log import get_logger
from propeller.progress import progress

log = get_logger(__name__)

# Modules that decide what a row becomes, whatever the task.
_RULES = tuple(
    module.__name__
    for module in (
        *(records, forms, encoding, delimited, json_records, columnar, dataset_folder, objects),
        *(naming, columns, column_words, text_keys),
    )
)


class SetReader(abc.ABC):
    """Reads the files of one task. A task gives the rows of a file and an encoder for them.

    Files are tokenized once: the result is kept under a key of the file's content, the vocabulary, all options and the
    code that tokenizes.

    Args:
        encoder: picklable callable: a chunk, a list of what `rows` gives -> (arrays as `tokenized_set.collect` takes
            them, list of `BadRow`). Has `tokenizer` and `max_seq_len`, at least 3; its
            other attributes are JSON-able options, too.
        skip_bad_rows: whether rows that cannot be used are counted and listed instead of an error.
        cache: False neither reads nor writes the cache folder (`tokenized_set.cache_folder`).
        processes: processes that tokenize a large file; None is one a processor.
        columns, learnt: `ColumnNames` that the user gave, and dict role -> column that the model learnt from, see
            `Naming`; None: there are none.

    Raises:
        UsageError: `max_seq_len` is too small.
    """

    rule_modules = ()  # names of further modules that decide what a row becomes
    known_columns = ()  # of tables

    def __init__(self, encoder, *, skip_bad_rows=False, cache=True, processes=None, columns=None, learnt=None):
        if encoder.max_seq_len < 3:
            raise UsageError(f'found max_seq_len {encoder.max_seq_len}, expected at least 3: [CLS], a token and [SEP].')
        self.encoder = encoder
        self.skip_bad_rows = skip_bad_rows
        self.cache = SetCache(bounds=self.bounds()) if cache else None
        self.processes = processes
        self.columns, self.learnt = columns or ColumnNames(), learnt or {}
        self.about = {}  # what `rows` notes of the file that is read: `TokenizedSet.about`

    def bounds(self):
        """What the arrays of a file are within, see `set_checks.arrays_fault`: an entry of the cache is held to it."""
        return {'ids': (0, max(self.encoder.tokenizer.vocab.values()) + 1), 'length': self.encoder.max_seq_len}

    @abc.abstractmethod
    def rows(self, path, bad_rows):
        """Iterates over the rows of a file, picklable, and notes in `about` what is to be known of the file.

        bad_rows: None, or the `BadRows` that takes unusable rows.
        """

    def notes(self, path):
        """The `Notes` of a file that is read, kept in `about`."""
        return Notes(path, self.about.setdefault('notes', []))

    def _noting_columns(self, records, naming):
        """The `Record`s of a table, whose columns are noted in `about`. naming: the `Naming` that found them."""
        for record in records:
            if 'columns' not in self.about:
                self.about |= {'columns': list(record.cells), 'column_names': naming.found}
            yield record

    @abc.abstractmethod
    def size_of(self, row):
        """Characters of a row, which bound the size of a chunk."""

    def read(self, path):
        """Tokenizes a file, or takes it from the cache.

        Returns:
            `TokenizedSet`; its `bad_rows` is a `BadRows` with `skip_bad_rows`, else None.

        Raises:
            UserError: the file, or with `skip_bad_rows=False` a row of it, is not as it must be; file and line named.
        """
        path = os.fspath(path)
        bad_rows = BadRows(path) if self.skip_bad_rows else None
        self.about = {}
        state = _file_state(path)
        key = self._key(path) if self.cache and state else None
        tokenized = key and self.cache.load(key, path, bad_rows)
        source = 'from the cache'
        if not tokenized:
            source = 'tokenized'
            if key:
                chunks = lambda: self._chunks(path, bad_rows, state)  # noqa: E731
                tokenized = self.cache.store(key, chunks, path, bad_rows, self.about)
            else:
                tokenized = collect(self._chunks(path, bad_rows, state), path, bad_rows, self.about)
        log.debug('%s: %d rows, %d tokens, %s', path, len(tokenized), len(tokenized.ids), source)
        for message in bad_rows.messages() if bad_rows else ():
            log.warning('skipped %s', message)
        say(path, tokenized.about.get('notes', ()))
        Notices(path, self.known_columns).say(tokenized.about.get('columns', ()))
        return tokenized

    def _chunks(self, path, bad_rows, state):
        """Chunks of the file in order. `state` is that of the file when its key was made."""
        if bad_rows is not None:
            bad_rows.clear()
        self.about.clear()
        chunks = chunked(self.rows(path, bad_rows), self.size_of)
        rows = 0
        encoded = map_ordered(self.encoder, chunks, self.processes)
        name = os.path.basename(path)
        for arrays, bad in progress(encoded, f'reading {name}', count=lambda pair: len(pair[0]['lengths'])):
            for row in bad:
                leave_out(row, path, bad_rows)
            rows += len(arrays['lengths'])
            yield arrays
        if not rows:
            line = bad_rows.rows[0][0] if bad_rows else None
            raise bad_input(path, f'{len(bad_rows or ())} rows that cannot be used', 'a row that can', line)
        if _file_state(path) != state:
            raise bad_input(path, 'a file that changed while it was read', 'one that stays', advice='Start again.')

    def _key(self, path):
        """Name of the file's entry in the cache; None for a tokenizer that has no fingerprint."""
        encoder, tokenizer = self.encoder, self.encoder.tokenizer
        if not hasattr(tokenizer, 'fingerprint'):
            return None
        settings = {
            'format': FORMAT_VERSION,
            'endings': [os.path.splitext(file.lower())[1] for file in source_files(path)],
            'skip_bad_rows': self.skip_bad_rows,
            'columns': [self.columns, self.learnt],
            'encoder': type(encoder).__qualname__,
            'options': {name: value for name, value in vars(encoder).items() if name != 'tokenizer'},
            'tokenizer': tokenizer.fingerprint(),
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        # The rules are part of the key too: a new version of the program must not find the ids of an old one.
        code = (__name__, type(self).__module__, BadRows.__module__, *_RULES, *self.rule_modules)
        for file in (*source_files(path), *(sys.modules[name].__file__ for name in code)):
            try:
                with open(file, 'rb') as f:
                    digest.update(hashlib.file_digest(f, 'sha256').digest())
            except OSError as e:
                raise bad_input(file, f'a file that cannot be read ({e.strerror})', 'a readable file') from None
        return digest.hexdigest()


def _file_state(path):
    """What changes when a file is written; None for what is not a regular file (a pipe, say), or not there."""
    states = []
    for file in source_files(path):
        try:
            found = os.stat(file)
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        states.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return states
