"""`python -m ernie.pretrain.build_data`: raw text -> sample files of ERNIE 1.0 and 2.0.

A stream with bounded memory, in many processes, to be started again after a kill. See `building/`.
"""

import hashlib
import importlib.metadata
import os
import sys
import time
from collections import Counter

from ernie.pretrain.building import blocks, documents
from ernie.pretrain.building.block_builder import BlockBuilder
from ernie.pretrain.building.cli import parse
from ernie.pretrain.building.engines import run_blocks
from ernie.pretrain.building.lexers import LEXERS
from ernie.pretrain.building.report import as_text, summarize
from ernie.pretrain.building.shards import ShardFolder, refuse_own_names
from ernie.pretrain.tasks.discourse_markers import load_relations
from ernie.pretrain.tasks.sample_builder import SampleSettings
from ernie.reader.records import read_records
from ernie.tokenization import FullTokenizer
from ernie.tokenizers import TOKENIZER_CONFIG
from propeller.errors import UserError, bad_input, one_line_errors
from propeller.log import get_logger

log = get_logger(__name__)

FORMAT = 2  # of what the settings of a manifest say
MOST_UNKNOWN = 0.1  # share of the tokens; usual is less than 1 %


class Inputs:
    """The three kinds of input as streams that can be read again.

    Args:
        settings: `BuildSettings`.
        skipped: Counter for what is left out.
    """

    def __init__(self, settings, skipped):
        self.form = documents.Form(settings.text_field, settings.id_field, settings.new_document)
        paths = {'documents': settings.input, 'dialogues': settings.dialogue_input, 'queries': settings.ir_input}
        self.files = {kind: documents.input_files(given, settings.vocab_path) for kind, given in paths.items() if given}
        self.skipped = skipped

    def items(self, kind):
        """Iterates over the documents, dialogues or queries."""
        if kind == 'documents':
            self.skipped.clear()
            return documents.read_documents(self.files[kind], self.form, self.skipped)
        return (_dialogues if kind == 'dialogues' else _queries)(self.files[kind])

    def key_of(self, kind):
        """What stays together on one side of the held-out split: parts of a document, documents of one id, a query."""
        if kind == 'documents':
            return (lambda document: document.name) if self.form.id_field else (lambda document: document.number)
        return (lambda row: row[0]) if kind == 'queries' else None

    def described(self):
        """[path, bytes, time of change] of each file, for the manifest."""
        found = []
        for path in (path for files in self.files.values() for path in files):
            status = os.stat(path)
            found.append([path, status.st_size, status.st_mtime_ns])
        return found


def _dialogues(paths):
    for path in paths:
        for _, line in documents.lines_of(path):
            turns = [turn.strip() for turn in line.split('\t') if turn.strip()]
            if turns:
                yield turns


def _queries(paths):
    for path in paths:
        for record in read_records(path, required=('query', 'title', 'label')):
            label = record.cells['label'].strip()
            if label not in ('0', '1', '2'):
                raise bad_input(path, f'label {label!r}', '0 (strong), 1 (weak) or 2 (random)', record.line)
            yield record.cells['query'], record.cells['title'], int(label)


def build(settings):
    """Makes the shards that are not there yet, the file lists and the report.

    Args:
        settings: `BuildSettings`.

    Returns:
        (report, lists): the report as a dict; dict split -> path of its file list.

    Raises:
        UserError: bad input, a folder that cannot be used, a full disk.
    """
    started = time.monotonic()
    sample_settings = _sample_settings(settings)
    rules = settings.do_lower_case, settings.strip_accents, settings.tokenize_chinese_chars
    tokenizer = FullTokenizer(settings.vocab_path, *rules)
    lexer = LEXERS[settings.lexer]()
    builder = BlockBuilder(tokenizer, lexer, sample_settings, settings.half_width, settings.seed)
    skipped = Counter()
    inputs = Inputs(settings, skipped)
    files = [path for paths in inputs.files.values() for path in paths]
    refuse_own_names(settings.output, [*files, settings.vocab_path, settings.markers])
    folder = ShardFolder(settings.output, _described(settings, inputs, builder.builders, lexer), settings.overwrite)
    try:
        _write_shards(settings, inputs, builder, folder)
        if not any(shard['files'] for shard in folder.done.values()):
            raise UserError('the input gives no sample: ' + _left_out(folder.done))
        lists = folder.write_file_lists(settings.word_mask_probability)
        classes = {one.name: one.classes() for one in builder.builders if one.classes()}
        report = summarize(folder.done, skipped, time.monotonic() - started, classes)
        folder.write_json('report.json', report)
        folder.write_text('report.txt', as_text(report))
        folder.write_text(TOKENIZER_CONFIG, tokenizer.config_file(settings.max_seq_len).decode())
    finally:
        folder.close()
    return report, lists


def _sample_settings(settings):
    sample_settings = SampleSettings(
        **{name: value for name, value in vars(settings).items() if name in SampleSettings._fields}
    )
    return sample_settings._replace(relations=load_relations(settings.markers)) if settings.markers else sample_settings


def _write_shards(settings, inputs, builder, folder):
    done = frozenset(folder.done)
    if done:
        log.info('%d shards are there already', len(done))
    cuts = blocks.Cuts(settings.shard_characters, settings.shards, settings.valid_share, settings.seed)
    stream, warned = _all_blocks(inputs, cuts, done), False
    for number in folder.write_shards(run_blocks(builder, stream, settings.engine, settings.processes)):
        counts = folder.done[number]['counts'].get('train', {})
        log.info('shard %d: %d samples, %d tokens', number, counts.get('samples', 0), counts.get('sample tokens', 0))
        if not warned:
            warned = _warn_of_unknown(settings.vocab_path, folder.done[number]['counts'].values())


def _warn_of_unknown(vocab_path, counts):
    """Whether a vocabulary does not know the text of a shard, which is said."""
    unknown, tokens = (sum(each.get(name, 0) for each in counts) for name in ('unknown tokens', 'tokens'))
    if unknown <= MOST_UNKNOWN * tokens:
        return False
    log.warning(
        '%.1f %% of the tokens are [UNK]: is %s a vocabulary for this text? '
        'python -m ernie.pretrain.build_vocab makes one of it.',
        *(100 * unknown / tokens, vocab_path),
    )
    return True


def _all_blocks(inputs, cuts, done):
    first_shard = 0
    for kind in inputs.files:
        size_of = blocks.characters_of(kind)
        totals = blocks.count_items(inputs.items(kind), size_of) if cuts.shards else (0, 0)
        if cuts.shards > totals[0]:
            raise UserError(f'--shards {cuts.shards}: the input has {totals[0]} {kind}, fewer than shards.')
        first_shard = yield from blocks.cut_blocks(
            kind, inputs.items(kind), size_of, cuts, first_shard, totals, done, inputs.key_of(kind)
        )


def _described(settings, inputs, builders, lexer):
    with open(settings.vocab_path, 'rb') as f:
        vocab = hashlib.file_digest(f, 'sha256').hexdigest()
    described = settings.of_samples() | {'format': FORMAT, 'files': inputs.described(), 'vocab_sha256': vocab}
    for builder in builders:
        described |= builder.content()
    if lexer.package:
        described['lexer_version'] = importlib.metadata.version(lexer.package.partition('>')[0])
    return described


def _left_out(shards):
    reasons = Counter()
    for shard in shards.values():
        for counts in shard['counts'].values():
            reasons.update({k.removeprefix('left out/'): n for k, n in counts.items() if k.startswith('left out/')})
    return '; '.join(f'{number} {reason}' for reason, number in reasons.items()) or 'there is no text in it.'


def main(argv=None, prog=None):
    """Command line; see `building/cli.py`. Prints the report."""
    settings = parse(argv, prog)
    report, lists = build(settings)
    print(as_text(report), end='')
    for split, path in lists.items():
        print(f'{split}: {path}')


if __name__ == '__main__':
    with one_line_errors():
        main(sys.argv[1:])
