"""A corpus of documents, dialogues and queries, and what `python -m ernie.pretrain.build_data` makes of it."""

import gzip
import json
import os

from ernie.pretrain import build_data
from ernie.pretrain.building.cli import parse
from ernie.pretrain.file_list import read_file_list
from ernie.pretrain.samples import parse_line
from tests.ernie.building_texts import ALL_TEXT, ENGLISH, chinese_documents, write_documents, write_vocabulary

ODD = [['مرحبا بالعالم', '😀👍🏽 éàü', '\u200b'], ['한국어 문장입니다. 두 번째 문장.', 'x' * 300], ['。。。', '?!']]
DOCUMENT_TASKS = (
    'knowledge_masking,capitalization,token_document,sentence_reordering,sentence_distance,discourse_relation'
)
ALL_TASKS = DOCUMENT_TASKS + ',next_sentence,dialogue_response,ir_relevance'


def write_corpus(folder):
    """Documents, dialogues, queries and a vocabulary in a folder; returns it."""
    write_vocabulary(folder / 'vocab.txt', ALL_TEXT)
    texts = folder / 'texts'
    texts.mkdir()
    write_documents(texts / 'a.gz', chinese_documents(60, seed=1))
    write_documents(texts / 'b.txt', [*ODD, [ENGLISH, ENGLISH[::-1], ENGLISH.replace('Anna', 'Smith')] * 3])
    rows = [{'text': '\n'.join(paragraphs)} for paragraphs in chinese_documents(50, seed=2)]
    (texts / 'c.jsonl').write_text('\n'.join(map(json.dumps, rows)), encoding='utf-8')
    turns = [sentence for document in chinese_documents(40, seed=3) for sentence in document]
    (folder / 'turns.txt').write_text('\n'.join('\t'.join(turns[i : i + 4]) for i in range(0, 60, 4)), encoding='utf-8')
    rows = [f'{turns[i]}\t{turns[i + 1]}\t{i % 3}' for i in range(40)]
    (folder / 'log.tsv').write_text('\n'.join(['query\ttitle\tlabel', *rows]) + '\n', encoding='utf-8')
    return folder


def flags(corpus, output, tasks='', **values):
    everything = ['--input', str(corpus / 'texts'), '--output', str(output), '--vocab_path', str(corpus / 'vocab.txt')]
    if tasks:
        everything += ['--tasks', tasks]
    if 'dialogue_response' in tasks:
        everything += ['--dialogue_input', str(corpus / 'turns.txt'), '--ir_input', str(corpus / 'log.tsv')]
    values = {'max_seq_len': 48, 'seed': 5, 'processes': 1} | values
    return [*everything, *(word for name, value in values.items() for word in (f'--{name}', str(value)))]


def run(corpus, output, tasks='', **values):
    return build_data.build(parse(flags(corpus, output, tasks, **values)))


def content(folder):
    """name -> bytes of the sample files and lists."""
    names = [name for name in os.listdir(folder) if name.endswith(('.gz', '_filelist'))]
    return {name: (folder / name).read_bytes() for name in names}


def samples_of(folder, split='train'):
    found = []
    for file in read_file_list(folder / f'{split}_filelist'):
        with gzip.open(file.path, 'rt', encoding='ascii') as f:
            found += [parse_line(line, file.path, number) for number, line in enumerate(f, 1)]
    return found
