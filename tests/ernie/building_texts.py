"""Small corpora and vocabularies for the tests of the builder."""

import gzip
import random

SUBJECTS = ('小猫', '老师', '王明', '北京的火车', '那位医生', '邻居的孩子', '春天', '编辑部')
VERBS = ('看见了', '想起', '送来', '谈到', '修好了', '忘记了', '带走了')
OBJECTS = ('三本旧书', '一封信', '门口的自行车', '昨天的天气', '河边的灯', '晚饭', 'Windows 95', '这件事')
MARKERS = ('', '', '', '但是，', '因为', '例如，', '然后', '所以', '而且')
ENGLISH = (
    'Dr. Smith met Anna in New York. They talked about 3.5 percent of the unaffable readers. But it rained! '
    'However, nobody left. "Why stay?" he asked. She said nothing for a while.'
)


def chinese_sentence(rng):
    return f'{rng.choice(MARKERS)}{rng.choice(SUBJECTS)}{rng.choice(VERBS)}{rng.choice(OBJECTS)}{rng.choice("。！？")}'


def chinese_documents(count, sentences=9, seed=7):
    """list of documents, each a list of paragraphs of some sentences."""
    rng = random.Random(seed)
    documents = []
    for _ in range(count):
        rest = rng.randint(1, sentences)
        paragraphs = []
        while rest > 0:
            n = min(rest, rng.randint(1, 4))
            paragraphs.append(''.join(chinese_sentence(rng) for _ in range(n)))
            rest -= n
        documents.append(paragraphs)
    return documents


def write_documents(path, documents):
    """A text file, gzip if its name says so."""
    text = '\n\n'.join('\n'.join(paragraphs) for paragraphs in documents) + '\n'
    opened = gzip.open(path, 'wb') if str(path).endswith('.gz') else open(path, 'wb')  # noqa: SIM115
    with opened as f:
        f.write(text.encode())
    return path


def write_vocabulary(path, *texts, extra=()):
    """One token a line: special tokens, every character of the texts, some English words and pieces."""
    characters = sorted({c.lower() for text in texts for c in text if not c.isspace()})
    english = [
        'dr',
        'smith',
        'anna',
        'new',
        'york',
        'un',
        '##aff',
        '##able',
        'percent',
        'the',
        'but',
        'however',
        'windows',
    ]
    tokens = ['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]', *english, *extra, *characters]
    tokens += [f'##{c}' for c in characters if c.isascii() and c.isalnum()]
    path.write_text('\n'.join(dict.fromkeys(tokens)) + '\n', encoding='utf-8')
    return path


ALL_TEXT = ''.join((*SUBJECTS, *VERBS, *OBJECTS, *MARKERS, '。！？，', ENGLISH))
