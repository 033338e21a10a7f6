"""`python -m ernie.pretrain.build_data`: the folder that it writes to, kills, full disks, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ernie.pretrain.building.cli import parse
from propeller.errors import UsageError, UserError
from tests.ernie.building_texts import ALL_TEXT, chinese_documents, write_documents, write_vocabulary
from tests.ernie.built_corpus import DOCUMENT_TASKS, content, flags, run, write_corpus


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp('corpus'))


@pytest.mark.parametrize('name', ['train-00000.gz', 'report.txt', 'manifest.json'])
def test_a_corpus_by_a_name_of_ours_is_not_written_over(tmp_path, corpus, name):
    (tmp_path / name).symlink_to(corpus / 'texts' / 'b.txt')
    before = (corpus / 'texts' / 'b.txt').read_bytes()
    with pytest.raises(UserError, match=f'{name}: the same file as .*b.txt, which is read. Choose another --output'):
        run(corpus, tmp_path, overwrite=True)
    assert (corpus / 'texts' / 'b.txt').read_bytes() == before


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
    for text in ('', '[]', '{"settings": {}}', 'x'):
        (tmp_path / 'out' / 'manifest.json').write_text(text)
        with pytest.raises(UserError, match=r'manifest\.json(:1)?: found .*, expected the manifest of a builder'):
            run(corpus, tmp_path / 'out')


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
