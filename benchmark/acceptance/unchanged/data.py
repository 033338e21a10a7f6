"""The small files that the runs read: made by a seed, the same on every machine."""

import gzip
import json
import os
import random
import shutil

GOOD, BAD = '好美赞棒香', '差丑烂坏臭'
FILLING = '的一是不了人我在有他这中大来上国个到说们'
WORDS = ('fine', 'poor', 'room', 'hotel', 'Paris', 'gladly')
SPECIAL = ('[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]')
LABELS = ('O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC')
LABELS_IOBES = ('O', *(f'{place}-{kind}' for kind in ('PER', 'LOC') for place in 'BIES'))
CONFIG = {
    'hidden_size': 32,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'max_position_embeddings': 64,
    'type_vocab_size': 4,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
    'initializer_range': 0.2,
}


def _write(name, text):
    with open(os.path.join('data', name), 'w', encoding='utf-8', newline='\n') as f:
        f.write(text)


def _table(name, header, rows):
    _write(name, '\n'.join('\t'.join(map(str, row)) for row in (header, *rows)) + '\n')


def _sentence(rng, label):
    text = rng.choices(FILLING, k=rng.randint(2, 22))
    for _ in range(rng.randint(1, 2)):
        text.insert(rng.randrange(len(text) + 1), rng.choice((BAD, GOOD)[label]))
    if rng.random() < 0.3:
        text.append(' ' + rng.choice(WORDS) + '，')
    return ''.join(text)


def _classes(name, count, seed, space=''):
    rng = random.Random(seed)
    labels = [i if i < 2 else rng.randrange(2) for i in range(count)]
    _table(name, ('text_a', 'label'), [(space.join(_sentence(rng, label)), label) for label in labels])


def _pairs(name, count, seed):
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        a, b = rng.randrange(2), rng.randrange(2)
        rows.append((_sentence(rng, a), _sentence(rng, b), int(a == b)))
    _table(name, ('text_a', 'text_b', 'label'), rows)


def _scores(name, count, seed):
    rng = random.Random(seed)
    labels = [rng.randrange(2) for _ in range(count)]
    _table(name, ('text_a', 'label'), [(_sentence(rng, x), round(x + rng.random() / 2, 2)) for x in labels])


def _many(name, count, seed):
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        first = rng.randrange(2)
        text = _sentence(rng, first)
        rows.append((text, ','.join(map(str, [first, *([2] if '我' in text else [])]))))
    _table(name, ('text_a', 'label'), rows)


def _tags(name, count, seed, iobes=False):
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        tokens, labels = [], []
        for _ in range(rng.randint(1, 4)):
            filling = rng.choices(FILLING, k=rng.randint(1, 4))
            kind = rng.choice(('PER', 'LOC'))
            entity = rng.choices(GOOD if kind == 'PER' else BAD, k=rng.randint(1, 3))
            places = 'B' + 'I' * (len(entity) - 1)
            if iobes:
                places = 'S' if len(entity) == 1 else 'B' + 'I' * (len(entity) - 2) + 'E'
            tokens += filling + entity
            labels += ['O'] * len(filling) + [f'{place}-{kind}' for place in places]
        rows.append(('\x02'.join(tokens), '\x02'.join(labels)))
    _table(name, ('text_a', 'label'), rows)


def _questions(name, count, seed, impossible=0.0):
    rng = random.Random(seed)
    paragraphs = []
    for i in range(count):
        context = rng.choices(FILLING, k=rng.randint(6, 40))
        key, question = f'q{seed}_{i}', '有在哪'
        if rng.random() < impossible:
            entry = {'id': key, 'question': question, 'answers': [], 'is_impossible': True}
        else:
            at, answer = rng.randrange(len(context)), rng.choice(GOOD) + rng.choice(BAD)
            context[at:at] = answer
            entry = {'id': key, 'question': question, 'answers': [{'text': answer, 'answer_start': at}]}
        paragraphs.append({'context': ''.join(context), 'qas': [entry]})
    document = {'version': '1.1', 'data': [{'title': '题', 'paragraphs': paragraphs}]}
    _write(name, json.dumps(document, ensure_ascii=False))


def _samples(name, count, seed, task=None):
    """Pre-training samples in the form of ERNIE 1.0, or of a task of 2.0; with their list."""
    rng = random.Random(seed)
    lines = []
    for i in range(count):
        halves = [(5, 20), (20, 35)]
        first, second = halves[i % 2], halves[(i % 2 + i // 2) % 2]
        parts = [[rng.randrange(*half) for _ in range(rng.randint(2, 7))] for half in (first, second)]
        ids = [1, *parts[0], 2, *parts[1], 2]
        types = [0] * (len(parts[0]) + 2) + [1] * (len(parts[1]) + 1)
        units = [[0, *(int(rng.random() < 0.4) for _ in part[1:])] for part in parts]
        lists = [ids, types, range(len(ids)), [-1, *units[0], -1, *units[1], -1]]
        fields = [' '.join(map(str, values)) for values in lists]
        if task == 'capitalization':
            fields += ['1', 'capitalization=' + ' '.join('-1' if x < 3 else str(x % 2) for x in ids)]
            fields.append('knowledge_masking=')
        else:
            fields.append(str(int(first == second)))
        lines.append(';'.join(fields) + '\n')
    with open(f'data/{name}.gz', 'wb') as raw, gzip.GzipFile('', 'wb', fileobj=raw, mtime=0) as f:
        f.write(''.join(lines).encode())
    _write(f'{name}_list', f'data/{name}.gz\t1.1\n')


def _corpus():
    rng = random.Random(31)
    text = ''
    for _ in range(40):
        text += ''.join(_sentence(rng, rng.randrange(2)) + '。\n' for _ in range(rng.randint(2, 9))) + '\n'
    _write('corpus.txt', text[:-1])


def _other_forms():
    """The same as CoNLL; with rows that are wrong; with words for classes."""
    with open('data/tags_dev.tsv', encoding='utf-8') as f:
        rows = [line.rstrip('\n').split('\t') for line in f.readlines()[1:]]
    pairs = [zip(text.split('\x02'), labels.split('\x02'), strict=True) for text, labels in rows]
    _write('tags_dev.conll', '\n'.join(''.join(f'{token} {label}\n' for token, label in pair) for pair in pairs))
    with open('data/train.tsv', encoding='utf-8') as f:
        lines = f.read().splitlines()
    _write('train_bad.tsv', '\n'.join([*lines[:9], '好', *lines[9:20], '坏\t5', *lines[20:]]) + '\n')
    _table('named.tsv', ('text_a', 'label'), [(line[:-2], ('bad', 'good')[int(line[-1])]) for line in lines[1:]])
    _write('names.json', '{"good": 1, "bad": 0}')


def _models():
    letters = sorted(set(GOOD + BAD + FILLING))
    pieces = ['fine', 'poor', 'room', 'hotel', 'par', '##is', 'glad', '##ly', '，', '。']
    tokens = [*SPECIAL, *letters, *pieces]
    _write('vocab.txt', '\n'.join(tokens) + '\n')
    config = {**CONFIG, 'vocab_size': len(tokens)}
    _write('config.json', json.dumps(config))
    _write('config_tasks.json', json.dumps({**config, 'use_task_id': True, 'task_type_vocab_size': 3}))


def _wrong_files():
    _write('wrong_map.json', '{"B-PER": 0, "O": 0}')
    _write('broken.json', '{"hidden_size": 32,')
    _write('broken.tsv', 'text_a\tlabel\n好人\t1\n坏人\n')
    _write('labels_off.tsv', 'text_a\tlabel\n好人\t1\n坏人\t7\n')
    _write('not_utf8.tsv', 'text_a\tlabel\n')
    with open('data/not_utf8.tsv', 'ab') as f:
        f.write(b'\xff\xfe\t1\n')
    config = {**CONFIG, 'vocab_size': 60, 'hidden_size': 40}
    _write('config_wide.json', json.dumps(config))


def write_data():
    """Make the folder `data` in the working directory."""
    os.makedirs('data')
    _models()
    for name, count in (('train', 60), ('dev', 19), ('dev2', 11), ('test', 13)):
        _classes(f'{name}.tsv', count, count)
        _pairs(f'pairs_{name}.tsv', count, count + 1)
        _scores(f'scores_{name}.tsv', count, count + 2)
        _many(f'many_{name}.tsv', count, count + 3)
        _classes(f'spaces_{name}.tsv', count, count + 4, ' ')
        _tags(f'tags_{name}.tsv', count, count + 5)
        _tags(f'iobes_{name}.tsv', count, count + 6, iobes=True)
        _questions(f'questions_{name}.json', count, count + 7, impossible=0.2)
    _other_forms()
    for name, labels in (('tags', LABELS), ('iobes', LABELS_IOBES)):
        _write(f'{name}_map.json', json.dumps({label: i for i, label in enumerate(labels)}))
    rng = random.Random(41)
    texts = [_sentence(rng, i % 2) for i in range(9)]
    _table('texts.tsv', ('text_a',), [(text,) for text in texts])
    _write('texts.jsonl', ''.join(json.dumps({'text_a': text}, ensure_ascii=False) + '\n' for text in texts))
    _write('texts_bad.tsv', 'text_a\n' + '\n'.join([*texts[:3], f'{texts[3]}\tmore\tcells', *texts[4:]]) + '\n')
    _pairs('texts_pairs.tsv', 7, 43)
    rows = [{'question': '有在哪', 'context': text} for text in texts]
    _write('contexts.jsonl', ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows))
    _samples('pretrain', 90, 51)
    _samples('pretrain_valid', 30, 52)
    _samples('capitals', 60, 53, 'capitalization')
    lists = {'knowledge_masking': 'data/pretrain_list', 'capitalization': 'data/capitals_list'}
    schedule = {
        'tasks': {name: {'filelist': path} for name, path in lists.items()},
        'stages': [
            {'steps': {'knowledge_masking': 4}},
            {'steps': {'knowledge_masking': 2, 'capitalization': 3}, 'learning_rate': 0.002},
        ],
    }
    _write('schedule.json', json.dumps(schedule))
    _corpus()
    shutil.copy(os.path.join(os.path.dirname(__file__), 'learner.py'), 'data')
    _wrong_files()
