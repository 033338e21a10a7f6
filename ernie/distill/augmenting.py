"""Files of texts -> files of segmented and of augmented texts: as a stream, in several processes.

What is written does not depend on the number of processes.
"""

import contextlib
import itertools
import json
import tempfile
from collections import Counter

from ernie.distill.augmentation import Augmenter, WordTable, line_of
from ernie.distill.segmented import UNKNOWN, Segmenter, Words
from ernie.distill.text_files import read_texts
from ernie.pretrain.word_counts import BoundedCounter
from propeller.data.parallel import chunked, map_ordered
from propeller.errors import UserError, bad_input
from propeller.log import get_logger
from propeller.progress import progress
from propeller.storage.atomic import unwritable

log = get_logger(__name__)


def segment_files(paths, column, segmenter, processes):
    """Yields (`TextRow`, `Words`) of each row of text files, in order.

    Args:
        paths, column: see `ernie.distill.text_files.read_texts`.
        segmenter: `Segmenter`.
        processes: how many compute.
    Raises:
        UserError: see `read_texts`; a text in which the lexer finds no word.
    """
    rows = progress(read_texts(paths, column), 'segmenting')
    for chunk in map_ordered(_Chunks(segmenter), chunked(rows, lambda row: len(row.text)), processes):
        for row, words in chunk:
            if not words.texts:
                raise bad_input(row.path, 'a text without words', 'words', line=row.line)
            yield row, words


class _Chunks:
    def __init__(self, segmenter):
        self._segmenter = segmenter

    def __call__(self, chunk):
        return [(row, self._segmenter(row.text)) for row in chunk]


def augment_files(paths, column, lexer, tagger, mixture, copies, seed, processes):
    """Yields the lines of the augmented rows, see `line_of`: the first copy of all rows, then the second of all ...

    The texts are segmented once, into a temporary file; in memory there is a table of the distinct words.

    Args:
        paths, column: see `ernie.distill.text_files.read_texts`.
        lexer, tagger: see `Segmenter`.
        mixture: `Mixture`.
        copies: how often each row is augmented.
        seed: int.
        processes: how many compute.
    Raises:
        UserError: see `segment_files`; no word has a part of speech though rows are made by it.
    """
    segmenter = Segmenter(lexer, tagger)
    with _temporary_file() as spool:
        counts = BoundedCounter()
        count = 0
        for count, (_, words) in enumerate(segment_files(paths, column, segmenter, processes), 1):  # noqa: B007
            spool.write(json.dumps(words, ensure_ascii=False) + '\n')
            if mixture.pos_ratio:
                pairs = zip(words.tags, words.texts, strict=True)
                counts.update(Counter((tag, text) for tag, text in pairs if tag and text != UNKNOWN))
        if mixture.pos_ratio and not counts.counts:
            raise UserError(
                f'{paths[0]}: found no word with a part of speech, expected some to replace words by. Give text whose '
                'words are all word/pos, a --tagger, or --pos_ratio 0.'
            )
        if counts.shortfall:
            log.warning('more than %d distinct words: the rarest are not drawn', counts.limit)
        augmenter = Augmenter(mixture, WordTable(counts.counts), seed)
        log.debug('%d rows, %d distinct words with a part of speech', count, len(counts.counts))
        yield from progress(_augmented(spool, augmenter, copies, processes), 'augmenting', total=count * copies)


def _augmented(spool, augmenter, copies, processes):
    chunks = chunked(_spooled(spool, copies), lambda row: len(row[2]))
    for lines in map_ordered(_Copies(augmenter), chunks, processes):
        yield from lines


def _spooled(spool, copies):
    for copy in range(copies):
        spool.seek(0)
        for row, line in enumerate(iter(spool.readline, '')):
            yield row, copy, line


class _Copies:
    def __init__(self, augmenter):
        self._augmenter = augmenter

    def __call__(self, chunk):
        return [line_of(self._augmenter(Words(*json.loads(line)), row, copy)) for row, copy, line in chunk]


@contextlib.contextmanager
def _temporary_file():
    with tempfile.TemporaryFile('w+', encoding='utf-8', newline='\n') as file:
        try:
            yield file
        except OSError as e:
            if e.filename is not None:
                raise
            raise unwritable(f'the temporary folder {tempfile.gettempdir()}', e) from None


def student_vocabulary(paths, column, size, min_count, lower):
    """The words of segmented texts, the most frequent first: list of str, with `FIRST_WORDS` before them.

    Args:
        paths, column: see `ernie.distill.text_files.read_texts`.
        size: most entries, `FIRST_WORDS` included.
        min_count: what is rarer is left out.
        lower: lower-case the words, as the student's tokenizer does.
    """
    counts = BoundedCounter()
    rows = progress(read_texts(paths, column), 'counting words')
    for chunk in iter(lambda: list(itertools.islice(rows, 1024)), []):
        words = Counter(word for row in chunk for word in (row.text.lower() if lower else row.text).split())
        counts.update(words)
    return word_list(counts.counts, size, min_count)


def word_list(counts, size, min_count):
    """The most frequent words, with `FIRST_WORDS` before them: list of str. counts: dict word -> int."""
    first = {form for word in FIRST_WORDS for form in (word, word.lower())}
    ranked = sorted((pair for pair in counts.items() if pair[0] not in first), key=lambda pair: (-pair[1], pair[0]))
    return [*FIRST_WORDS, *(word for word, count in ranked if count >= min_count)][:size]


# Entry 0 is padding. The student needs [UNK] beside it; the fine-tuning programs need all five.
FIRST_WORDS = ('[PAD]', UNKNOWN, '[CLS]', '[SEP]', '[MASK]')
