"""`python -m ernie.pretrain.build_data`: the same files from any number of processes, after kills, and on Ray."""

import gzip
import importlib.util
import json
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.pretrain import build_data
from ernie.pretrain.building import blocks
from ernie.pretrain.building.cli import parse
from ernie.pretrain.tasks import TASKS
from ernie.tokenization import load_vocab
from propeller.errors import UserError
from tests.ernie.building_texts import ALL_TEXT, ENGLISH, chinese_documents, write_documents, write_vocabulary
from tests.ernie.built_corpus import ALL_TASKS, DOCUMENT_TASKS, content, flags, run, samples_of, write_corpus


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp('corpus'))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, 'BLOCK_CHARACTERS', 600)


ENGINES = [{'processes': 3}, {'engine': 'ray', 'processes': 2}]


@pytest.mark.parametrize('engine', ENGINES, ids=['processes', 'ray'])
def test_the_files_do_not_depend_on_who_makes_them(corpus, tmp_path, small_blocks, engine):
    if engine.get('engine') == 'ray' and importlib.util.find_spec('ray') is None:
        pytest.skip('ray is not installed')
    values = {'valid_share': 0.2, 'shard_characters': 3000, 'lexer': 'words'}
    run(corpus, tmp_path / 'one', ALL_TASKS, **values)
    report, _ = run(corpus, tmp_path / 'other', ALL_TASKS, **values, **engine)
    expected = content(tmp_path / 'one')
    assert len(expected) > 6
    assert content(tmp_path / 'other') == expected
    assert report['splits']['train']['samples'] == len(samples_of(tmp_path / 'one'))
    run(corpus, tmp_path / 'seed', ALL_TASKS, **values, seed=6)
    assert content(tmp_path / 'seed').keys() == expected.keys()
    assert content(tmp_path / 'seed') != expected


def test_every_sample_can_be_read_and_the_report_counts_them(corpus, tmp_path, small_blocks):
    report, lists = run(corpus, tmp_path / 'out', ALL_TASKS, valid_share=0.2, shards=2)
    vocab = load_vocab(corpus / 'vocab.txt')
    assert lists == {split: str(tmp_path / 'out' / f'{split}_filelist') for split in ('train', 'valid')}
    for split in ('train', 'valid'):
        samples = samples_of(tmp_path / 'out', split)
        counts = report['splits'][split]
        assert counts['samples'] == len(samples)
        assert counts['sample tokens'] == sum(len(s.token_ids) for s in samples)
        lengths = Counter(str(-(-len(s.token_ids) // 32) * 32) for s in samples)
        assert counts['lengths'] == lengths
        labels = {name: Counter() for name in TASKS}
        for s in samples:
            assert 0 <= s.token_ids.min() <= s.token_ids.max() < len(vocab)
            assert len(s.token_ids) <= 48
            for name, label in s.labels.items():
                if label is None:
                    labels[name]['samples'] += 1
                    continue
                values = [label] if isinstance(label, int) else [v for v in label.tolist() if v >= 0]
                assert max(values) < TASKS[name].num_classes
                labels[name].update(map(str, values))
        assert counts['labels'] == {name: found for name, found in labels.items() if found}
    assert report['splits']['train']['labels'].keys() == TASKS.keys()
    with open(tmp_path / 'out' / 'report.json', encoding='utf-8') as f:
        assert json.load(f) == json.loads(json.dumps(report))


def test_the_report_shows_the_first_samples(corpus, tmp_path, capsys):
    build_data.main(flags(corpus, tmp_path / 'out', valid_share=0.2))
    printed = capsys.readouterr().out
    assert (tmp_path / 'out' / 'report.txt').read_text(encoding='utf-8') in printed
    vocab = {index: token for token, index in load_vocab(corpus / 'vocab.txt').items()}
    for sample in samples_of(tmp_path / 'out')[:5]:
        ids = sample.token_ids.tolist()
        assert f'  text: {" ".join(vocab[i] for i in ids)}\n  token_ids: {" ".join(map(str, ids))}\n' in printed
        assert f'  segments: {" ".join(map(str, sample.segments))}\n' in printed
    assert printed.count('  text: ') == 5
    assert 'train: next_sentence 0: ' in printed


def test_counts_of_the_input(tmp_path):
    (tmp_path / 'texts').mkdir()
    write_documents(tmp_path / 'texts' / 'a.txt', [['Dr. Smith unaffable 龘。', '小猫！Windows'], ['the 龘龘']])
    write_vocabulary(tmp_path / 'vocab.txt', ALL_TEXT)
    report, _ = run(tmp_path, tmp_path / 'out', 'knowledge_masking', lexer='words')
    counts = {k: v for k, v in report['splits']['train'].items() if isinstance(v, int)}
    tokens = [
        *('dr', '.', 'smith', 'un', '##aff', '##able', '[UNK]', '。'),
        *('小', '猫', '！', 'windows'),
        *('the', '[UNK]', '[UNK]'),
    ]
    assert counts['tokens'] == len(tokens)
    assert counts['unknown tokens'] == 3
    assert counts['units'] == len(tokens) - 2
    assert counts['characters'] == len('Dr. Smith unaffable 龘。小猫！Windowsthe 龘龘')
    assert (counts['documents'], counts['sentences']) == (2, 4)
    assert 'unknown 20.00 %' in (tmp_path / 'out' / 'report.txt').read_text(encoding='utf-8')


def test_held_out_documents_are_in_no_training_sample(tmp_path, small_blocks):
    words = [f'word{i}' for i in range(120)]
    documents = [[f'{word} {word}. {word.title()} {word} {word}.', f'{word}.'] for word in words]
    (tmp_path / 'texts').mkdir()
    write_documents(tmp_path / 'texts' / 'a.txt', documents)
    write_vocabulary(tmp_path / 'vocab.txt', '.', extra=words)
    run(tmp_path, tmp_path / 'out', DOCUMENT_TASKS.replace('discourse_relation', 'next_sentence'), valid_share=0.3)
    vocab = load_vocab(tmp_path / 'vocab.txt')
    ids = {vocab[word] for word in words}
    train, valid = (
        {int(t) for s in samples_of(tmp_path / 'out', n) for t in s.token_ids} & ids for n in ('train', 'valid')
    )
    assert len(train) + len(valid) == 120
    assert not train & valid
    assert 20 < len(valid) < 55


def test_documents_of_one_id_are_on_one_side(tmp_path, small_blocks):
    words = [f'word{i}' for i in range(60)]
    rows = [{'key': word, 'text': f'{word} {word}. {word}.'} for word in words] * 3
    (tmp_path / 'texts').mkdir()
    (tmp_path / 'texts' / 'a.jsonl').write_text('\n'.join(map(json.dumps, rows)), encoding='utf-8')
    write_vocabulary(tmp_path / 'vocab.txt', '.', extra=words)
    run(tmp_path, tmp_path / 'out', 'knowledge_masking', valid_share=0.3, id_field='key')
    ids = {index for word, index in load_vocab(tmp_path / 'vocab.txt').items() if word in words}
    train, valid = (
        {int(t) for s in samples_of(tmp_path / 'out', split) for t in s.token_ids} & ids for split in ('train', 'valid')
    )
    assert valid
    assert not train & valid
    assert train | valid == ids


def test_queries_are_on_one_side(tmp_path, small_blocks):
    words = [f'word{i}' for i in range(60)]
    rows = [f'{word},{word}.,{i % 2}' for i in range(4) for word in words]
    (tmp_path / 'log.csv').write_text('\n'.join(['query,title,label', *rows]), encoding='utf-8')
    vocab = load_vocab(write_vocabulary(tmp_path / 'vocab.txt', '.', extra=words))
    values = {'valid_share': 0.3, 'random_share': 0, 'ir_input': tmp_path / 'log.csv'}
    build_data.build(parse(flags(tmp_path, tmp_path / 'out', 'ir_relevance', **values)[2:]))
    train, valid = ({int(s.token_ids[1]) for s in samples_of(tmp_path / 'out', n)} for n in ('train', 'valid'))
    assert valid
    assert not train & valid
    assert train | valid == {vocab[word] for word in words}


def test_positive_pairs_alone_for_a_reader_that_makes_the_others(corpus, tmp_path):
    run(corpus, tmp_path / 'out', negative_share=0)
    with gzip.open(tmp_path / 'out' / 'train-00000.gz', 'rt', encoding='ascii') as f:
        lines = f.read().splitlines()
    assert len(lines) > 100
    assert all(line.endswith(';1') and line.count(';') == 4 for line in lines)


def test_a_vocabulary_of_other_text_is_said_once(corpus, tmp_path, logged):
    write_vocabulary(tmp_path / 'vocab.txt', [ENGLISH])
    run(corpus, tmp_path / 'a', shard_characters=1500)
    assert not [message for message in logged if '[UNK]' in message]
    run(corpus, tmp_path / 'b', shard_characters=1500, vocab_path=tmp_path / 'vocab.txt')
    (message,) = [message for message in logged if '[UNK]' in message]
    assert re.fullmatch(
        rf'(9\d|100)\.\d % of the tokens are \[UNK\]: is {tmp_path}/vocab.txt a voc.*build_vocab.*', message
    )


def test_paddle_is_not_loaded():
    code = 'import sys, ernie.pretrain.build_data; sys.exit("paddle" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_a_bad_label_in_a_log_of_queries(corpus, tmp_path):
    (tmp_path / 'log.tsv').write_text('query\ttitle\tlabel\na\tb\t1\na\tb\tyes\n', encoding='utf-8')
    arguments = flags(corpus, tmp_path / 'out', 'ir_relevance')[2:] + ['--ir_input', str(tmp_path / 'log.tsv')]
    with pytest.raises(UserError, match=r"log.tsv:3: found label 'yes', expected 0"):
        build_data.build(parse(arguments))


def test_text_without_sentence_ends_is_cut_by_length(tmp_path):
    """Of one line of 20,000 characters every one is in a sample, in order; a vocabulary beside it is in none."""
    rng = random.Random(3)
    line = ''.join(rng.choice(ALL_TEXT) for _ in range(20_000)).replace('\n', '')
    line = ''.join(char for char in line if '\u4e00' <= char <= '\u9fff')
    texts = tmp_path / 'texts'
    texts.mkdir()
    (texts / 'a.txt').write_text(line + '\n', encoding='utf-8')
    write_vocabulary(texts / 'vocab.txt', ALL_TEXT)
    (tmp_path / 'vocab.txt').symlink_to(texts / 'vocab.txt')
    report, _ = run(tmp_path, tmp_path / 'out', tasks='knowledge_masking')
    vocabulary = {index: token for token, index in load_vocab(tmp_path / 'vocab.txt').items()}
    parts = [''.join(vocabulary[i] for i in s.token_ids[1:-1]) for s in samples_of(tmp_path / 'out')]
    assert sum(map(len, parts)) == len(line) and all(part in line for part in parts)
    assert max(map(len, parts)) <= 46
    counts = report['splits']['train']
    assert counts['sentences cut by length'] == 1 and counts['characters'] == len(line)
    assert 'left out' not in counts and counts['sentences'] == len(line) // 11 + (len(line) % 11 > 0)
    assert '1 sentences longer than a sample were cut by length' in (tmp_path / 'out' / 'report.txt').read_text()
    # Pairs need two sentences: that of one line has as many as it has parts.
    report, _ = run(tmp_path, tmp_path / 'pairs')
    counts = report['splits']['train']
    assert counts['sample tokens'] - 3 * counts['samples'] >= 0.97 * len(line)


def test_texts_are_cut_as_the_folder_of_the_vocabulary_says(tmp_path, corpus):
    """And the samples say it in turn, for the training that comes."""
    folder = tmp_path / 'cased'
    folder.mkdir()
    (folder / 'vocab.txt').write_bytes((corpus / 'vocab.txt').read_bytes())
    (folder / 'tokenizer_config.json').write_text('{"do_lower_case": false, "strip_accents": true}')
    (folder / 'a.txt').write_text('\n\n'.join(' '.join(document) for document in chinese_documents(3, seed=1)))
    arguments = ['--input', str(folder / 'a.txt'), '--vocab_path', str(folder / 'vocab.txt'), '--max_seq_len', '48']
    settings = parse([*arguments, '--output', str(tmp_path / 'out'), '--processes', '1'])
    assert (settings.do_lower_case, settings.strip_accents, settings.tokenize_chinese_chars) == (False, True, True)
    build_data.build(settings)
    assert folder_tokenizer(tmp_path / 'out').settings == ('FullTokenizer', False, True, True)
    given = parse([*arguments, '--output', str(tmp_path / 'other'), '--do_lower_case', 'true'])
    assert given.do_lower_case is True
    plain = parse(flags(corpus, tmp_path / 'plain'))
    assert plain.do_lower_case is True and 'strip_accents' not in plain.of_samples()  # old manifests still fit
