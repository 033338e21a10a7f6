"""`python -m ernie.pretrain.build_data`: the same files from any number of processes, after kills, and on Ray."""

import gzip
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.pretrain import build_data
from ernie.pretrain.building import blocks
from ernie.pretrain.building.cli import parse
from ernie.pretrain.file_list import read_file_list
from ernie.pretrain.samples import parse_line
from ernie.pretrain.tasks import TASKS
from ernie.tokenization import load_vocab
from propeller.errors import UsageError, UserError
from tests.ernie.building_texts import ALL_TEXT, ENGLISH, chinese_documents, write_documents, write_vocabulary

ODD = [['مرحبا بالعالم', '😀👍🏽 éàü', '\u200b'], ['한국어 문장입니다. 두 번째 문장.', 'x' * 300], ['。。。', '?!']]
DOCUMENT_TASKS = (
    'knowledge_masking,capitalization,token_document,sentence_reordering,sentence_distance,discourse_relation'
)
ALL_TASKS = DOCUMENT_TASKS + ',next_sentence,dialogue_response,ir_relevance'


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    """A folder with documents, dialogues, queries and a vocabulary."""
    folder = tmp_path_factory.mktemp('corpus')
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


@pytest.mark.parametrize('name', ['train-00000.gz', 'report.txt', 'manifest.json'])
def test_a_corpus_by_a_name_of_ours_is_not_written_over(tmp_path, corpus, name):
    (tmp_path / name).symlink_to(corpus / 'texts' / 'b.txt')
    before = (corpus / 'texts' / 'b.txt').read_bytes()
    with pytest.raises(UserError, match=f'{name}: the same file as .*b.txt, which is read. Choose another --output'):
        run(corpus, tmp_path, overwrite=True)
    assert (corpus / 'texts' / 'b.txt').read_bytes() == before


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


def test_other_settings_in_the_same_folder(corpus, tmp_path):
    out = tmp_path / 'out'
    run(corpus, out, shard_characters=1500)
    before = content(out)
    with pytest.raises(UserError, match=r'shards made with other settings \(max_seq_len, seed\).*--overwrite'):
        run(corpus, out, shard_characters=1500, seed=6, max_seq_len=40)
    assert content(out) == before
    run(corpus, out, shard_characters=10**6, overwrite='true')
    assert set(content(out)) == {'train-00000.gz', 'train_filelist'}
    (corpus / 'texts' / 'a.gz').touch()
    with pytest.raises(UserError, match=r'other settings \(files\)'):
        run(corpus, out, shard_characters=10**6)


@pytest.mark.parametrize('name', ['train-00000.gz', 'valid_filelist', 'report.txt'])
def test_files_of_somebody_else_are_not_replaced(corpus, tmp_path, name):
    (tmp_path / 'notes.txt').write_text('mine')
    (tmp_path / name).write_text('mine')
    with pytest.raises(UserError, match=rf'{name}: found a file that no builder made.*--overwrite'):
        run(corpus, tmp_path, valid_share=0.2)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {'notes.txt': 'mine', name: 'mine'}
    run(corpus, tmp_path, valid_share=0.2, overwrite='true')
    assert (tmp_path / 'notes.txt').read_text() == 'mine'
    (tmp_path / 'manifest.json').unlink()  # as after a kill before it is written
    run(corpus, tmp_path, valid_share=0.2)


def test_a_vocabulary_of_other_text_is_said_once(corpus, tmp_path, logged):
    write_vocabulary(tmp_path / 'vocab.txt', [ENGLISH])
    run(corpus, tmp_path / 'a', shard_characters=1500)
    assert not [message for message in logged if '[UNK]' in message]
    run(corpus, tmp_path / 'b', shard_characters=1500, vocab_path=tmp_path / 'vocab.txt')
    (message,) = [message for message in logged if '[UNK]' in message]
    assert re.fullmatch(
        rf'(9\d|100)\.\d % of the tokens are \[UNK\]: is {tmp_path}/vocab.txt a voc.*build_vocab.*', message
    )


def test_finished_shards_are_not_made_again_and_lost_ones_are(corpus, tmp_path):
    out = tmp_path / 'out'
    run(corpus, out, shard_characters=1500)
    before = content(out)
    times = {name: (out / name).stat().st_mtime_ns for name in before if name.endswith('.gz')}
    (out / 'train-00001.gz').unlink()
    report, _ = run(corpus, out, shard_characters=1500)
    assert content(out) == before
    changed = [name for name, when in times.items() if (out / name).stat().st_mtime_ns != when]
    assert changed == ['train-00001.gz']
    assert report['shards'] == len(times)


def start(arguments, **options):
    command = [sys.executable, '-m', 'ernie.pretrain.build_data', *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def shards_done(out):
    try:
        return len(json.loads((out / 'manifest.json').read_text(encoding='utf-8'))['shards'])
    except (FileNotFoundError, ValueError):
        return 0


def test_a_kill_at_any_moment_loses_unfinished_shards_only(tmp_path):
    write_vocabulary(tmp_path / 'vocab.txt', ALL_TEXT)
    (tmp_path / 'texts').mkdir()
    write_documents(tmp_path / 'texts' / 'a.txt', chinese_documents(1200))
    values = {'shard_characters': 5000, 'valid_share': 0.1}
    run(tmp_path, tmp_path / 'whole', DOCUMENT_TASKS, **values)
    out, kills, made = tmp_path / 'out', 0, {}
    for _ in range(40):
        process = start(flags(tmp_path, out, DOCUMENT_TASKS, **values, processes=2))
        target = shards_done(out) + 3
        while process.poll() is None and shards_done(out) < target:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            break
        kills += 1
        for name, when in made.items():
            assert (out / name).stat().st_mtime_ns == when, 'a finished shard was made again'
        manifest = json.loads((out / 'manifest.json').read_text(encoding='utf-8'))
        made = {
            n: (out / n).stat().st_mtime_ns for shard in manifest['shards'].values() for n in shard['files'].values()
        }
        if kills == 2:
            run(tmp_path, out, DOCUMENT_TASKS, **values)
            break
    assert kills >= 2
    assert content(out) == content(tmp_path / 'whole')
    assert not [name for name in os.listdir(out) if name.startswith('.tmp')]


def test_a_manifest_that_is_none(corpus, tmp_path):
    (tmp_path / 'out').mkdir()
    for content in ('', '[]', '{"settings": {}}', 'x'):
        (tmp_path / 'out' / 'manifest.json').write_text(content)
        with pytest.raises(UserError, match=r'manifest\.json(:1)?: found .*, expected the manifest of a builder'):
            run(corpus, tmp_path / 'out')


def test_paddle_is_not_loaded():
    code = 'import sys, ernie.pretrain.build_data; sys.exit("paddle" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_two_builders_in_one_folder(corpus, tmp_path):
    from ernie.pretrain.building.shards import ShardFolder

    folder = ShardFolder(tmp_path / 'out', {})
    with pytest.raises(UserError, match='another builder is at work'):
        run(corpus, tmp_path / 'out')
    folder.close()
    run(corpus, tmp_path / 'out')


def limit_file_size():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_a_full_disk_is_one_line_and_leaves_no_half_shard(corpus, tmp_path):
    process = start(flags(corpus, tmp_path / 'out', DOCUMENT_TASKS), preexec_fn=limit_file_size)
    out, err = process.communicate()
    assert process.returncode == 1
    assert out == ''
    assert err.splitlines()[-1].startswith(f'error: {tmp_path / "out"}/train-00000.gz: cannot be written (')
    assert 'Traceback' not in err
    assert set(os.listdir(tmp_path / 'out')) <= {'.lock'}


@pytest.mark.parametrize(
    ('name', 'data', 'expected'),
    [('empty.txt', b'', 'found an empty file'), ('x.txt', b'\x89PNG\r\n\x1a\n\0', ':1: found byte 0x89 at byte 1')]
    + [('n.txt', b'ab\0', ':1: found a NUL byte at byte 3'), ('p.txt', b'\xef\xbb\xbf.\n', 'no sample')],
)
def test_unusable_input_is_one_line(corpus, tmp_path, name, data, expected):
    (tmp_path / name).write_bytes(data)
    arguments = flags(corpus, tmp_path / 'out')
    arguments[1] = str(tmp_path / name)
    process = start(arguments)
    _, err = process.communicate()
    assert process.returncode == 1
    assert len(err.splitlines()) == 1 + err.count('[INFO]')
    assert expected in err.splitlines()[-1]
    assert not list((tmp_path / 'out').glob('*.gz'))


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({'max_seq_len': 4}, '--max_seq_len 4: expected at least 8'),
        ({'short_seq_prob': 1.5}, '--short_seq_prob 1.5: expected a share from 0 to 1'),
        ({'valid_share': 1}, '--valid_share 1.0: expected a share from 0 to below 1'),
        ({'tasks': 'masking'}, '--tasks masking: expected some of knowledge_masking, '),
        ({'tasks': 'ir_relevance'}, '--tasks ir_relevance needs --ir_input'),
        ({'tasks': 'capitalization', 'do_lower_case': 'false'}, 'needs --do_lower_case true'),
        ({'dialogue_input': 'x'}, '--dialogue_input is of no use'),
        ({'markers': 'none.json'}, '--markers none.json: no such file'),
        ({'max_pieces': 9}, '--max_pieces 9: must be at most 6'),
        ({'lexer': 'best'}, 'invalid choice'),
        ({'no_such_flag': 1}, 'unrecognized arguments'),
    ],
)
def test_impossible_flags(corpus, tmp_path, values, expected):
    with pytest.raises(UsageError, match=expected.replace('[', r'\[')):
        parse(flags(corpus, tmp_path, **values))


def test_output_inside_the_input(corpus):
    with pytest.raises(UsageError, match='lies inside the input .*: its shards would become input'):
        parse(flags(corpus, corpus / 'texts' / 'out'))


def test_more_shards_than_documents(corpus, tmp_path):
    with pytest.raises(UserError, match='--shards 1000: the input has 114 documents, fewer than shards'):
        run(corpus, tmp_path / 'out', shards=1000)


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
