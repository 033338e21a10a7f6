"""One block of documents, dialogues or queries -> compressed sample lines. The result depends on the block only."""

import gzip
import random
from collections import Counter

from ernie.pretrain.building.blocks import BlockResult
from ernie.pretrain.building.units import UnitEncoder
from ernie.pretrain.samples import format_line
from ernie.pretrain.tasks import TASKS, make_sample_builders

FIRST_SAMPLES = 5
LENGTH_STEP = 32
_GZIP_LEVEL = 4  # a quarter of the time of level 6, 7 % larger


class BlockBuilder:
    """A callable: `Block` -> `BlockResult`. It can be pickled; each process loads its own lexer.

    Args:
        tokenizer: a `FullTokenizer`.
        lexer: a `Lexer`.
        sample_settings: a `SampleSettings`.
        half_width: as in `UnitEncoder`.
        seed: of everything drawn at random, together with the number of the block.
    """

    def __init__(self, tokenizer, lexer, sample_settings, half_width, seed):
        self.tokenizer = tokenizer
        self.unk = tokenizer.vocab['[UNK]']
        self.builders = make_sample_builders(sample_settings, tokenizer)
        capitals = any(builder.reads_capitals for builder in self.builders)
        self.encoder = UnitEncoder(tokenizer, lexer, half_width, capitals, sample_settings.max_seq_len - 2)
        self.seed = seed

    def __call__(self, block):
        counts, self.encoder.cut = Counter(), 0
        items = [item for item in map(_READ[block.kind], [self] * len(block.items), block.items) if item]
        counts[block.kind] = len(block.items)
        if self.encoder.cut:
            counts['sentences cut by length'] = self.encoder.cut
        for sentence in self._sentences(block.kind, items):
            self._count_sentence(sentence, counts)
        samples = []
        for builder in self.builders:
            if builder.source == block.kind:
                rng = random.Random(f'{self.seed}/{block.shard}/{block.split}/{block.number}/{builder.name}')
                notes = Counter()
                samples += builder.samples(items, rng, notes)
                counts.update({f'left out/{reason}': number for reason, number in notes.items()})
        random.Random(f'{self.seed}/{block.shard}/{block.split}/{block.number}').shuffle(samples)
        for sample in samples:
            count_sample(sample, counts)
        text = ''.join([format_line(sample) + '\n' for sample in samples])
        first = [self._shown(sample) for sample in samples[:FIRST_SAMPLES]] if block.number == 0 else []
        data = gzip.compress(text.encode('ascii'), _GZIP_LEVEL, mtime=0) if text else b''
        return BlockResult(block.shard, block.split, block.kind, data, dict(counts), first)

    def read_document(self, document):
        """`Document` -> list of `Sentence`."""
        return [s for paragraph in document.paragraphs for s in self.encoder.sentences(paragraph)]

    def read_dialogue(self, turns):
        """list of str -> list of `Sentence`, one a turn."""
        sentences = [self.encoder.whole(turn) for turn in turns]
        return [sentence for sentence in sentences if sentence.ids]

    def read_query(self, row):
        """(query, title, label) -> the same with `Sentence`s; None if a text has no token."""
        query, title = self.encoder.whole(row[0]), self.encoder.whole(row[1])
        return (query, title, row[2]) if query.ids and title.ids else None

    def _sentences(self, kind, items):
        if kind == 'queries':
            return [text for row in items for text in row[:2]]
        return [sentence for sentences in items for sentence in sentences]

    def _count_sentence(self, sentence, counts):
        counts['sentences'] += 1
        counts['characters'] += len(sentence.text)
        counts['tokens'] += len(sentence.ids)
        counts['unknown tokens'] += sentence.ids.count(self.unk)
        counts['units'] += sentence.segments.count(0)

    def _shown(self, sample):
        tokens = self.tokenizer.convert_ids_to_tokens(sample.token_ids)
        return {'text': ' '.join(tokens), **sample._asdict()}


_READ = {
    'documents': BlockBuilder.read_document,
    'dialogues': BlockBuilder.read_dialogue,
    'queries': BlockBuilder.read_query,
}


def count_sample(sample, counts):
    """Adds a sample to a Counter: samples and their tokens, lengths in steps of `LENGTH_STEP`, labels of each task."""
    length = len(sample.token_ids)
    counts['samples'] += 1
    counts['sample tokens'] += length
    counts[f'lengths/{-(-length // LENGTH_STEP) * LENGTH_STEP}'] += 1
    for name, label in sample.labels.items():
        if label is None:
            counts[f'labels/{name}/samples'] += 1
        elif TASKS[name].level == 'token':
            for value, number in Counter(label).items():
                if value >= 0:
                    counts[f'labels/{name}/{value}'] += number
        else:
            counts[f'labels/{name}/{label}'] += 1
