"""script/en_glue/preprocess: GLUE's own table shapes in, the reader's TSV out, every row accounted for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PREPROCESS = Path(__file__).resolve().parents[1] / 'script' / 'en_glue' / 'preprocess'

MNLI_HEAD = [
    'index',
    'promptID',
    'pairID',
    'genre',
    's1_binary',
    's2_binary',
    's1_syn',
    's2_syn',
    'sentence1',
    'sentence2',
]
STSB_HEAD = ['index', 'genre', 'filename', 'year', 'old_index', 'source1', 'source2', 'sentence1', 'sentence2']
# A quotation mark that is never closed, doubled ones, a lone apostrophe and a non-ASCII letter: all are plain text.
ODD_A, ODD_B = 'He said "wait', 'A ""café"" isn\'t open'


def mnli_row(index, a, b, *labels):
    return [str(index), '31193', f'31193n{index}', 'travel', '( x )', '( y )', '(ROOT x)', '(ROOT y)', a, b, *labels]


def stsb_row(index, a, b, *score):
    return [str(index), 'main-news', 'headlines', '2015', f'{index:04}', 'none', 'none', a, b, *score]


MRPC_HEAD = ['Quality', '#1 ID', '#2 ID', '#1 String', '#2 String']
QQP_HEAD = ['id', 'qid1', 'qid2', 'question1', 'question2', 'is_duplicate']
PAIR_HEAD = ['index', 'sentence1', 'sentence2', 'label']
QNLI_HEAD = ['index', 'question', 'sentence', 'label']
TEXT_HEAD = ['index', 'sentence']
MNLI_TRAIN_HEAD = [*MNLI_HEAD, 'label1', 'gold_label']
MNLI_DEV_HEAD = [*MNLI_HEAD, *(f'label{i}' for i in range(1, 6)), 'gold_label']
FIVE_VOTES = ['neutral'] * 5

SOURCES = {
    'CoLA/train.tsv': [['gj04', '1', '', 'The sailors rode the breeze.'], ['gj04', '0', '*', 'They drank the pub.']],
    'CoLA/dev.tsv': [['gj04', '1', '', ODD_A]],
    'CoLA/test.tsv': [TEXT_HEAD, ['0', 'Bill whistled past the house.'], ['1', ODD_B]],
    'SST-2/train.tsv': [['sentence', 'label'], ['a gorgeous film ', '1'], ['torn', 'in', '0'], [ODD_A, '0'], ['x']],
    'SST-2/dev.tsv': [['sentence', 'label'], ['bleak and dull', '0']],
    'SST-2/test.tsv': [TEXT_HEAD, ['0', ODD_B]],
    'MRPC/train.tsv': [MRPC_HEAD, ['1', '702876', '702977', ODD_A, ODD_B], ['0', '1', '2', 'One .', 'Two .']],
    'MRPC/dev.tsv': [MRPC_HEAD, ['0', '3', '4', 'Up .', 'Down .']],
    'MRPC/test.tsv': [['index', *MRPC_HEAD[1:]], ['0', '1089874', '1089925', ODD_A, ODD_B]],
    'STS-B/train.tsv': [[*STSB_HEAD, 'score'], stsb_row(0, ODD_A, ODD_B, '3.800'), stsb_row(1, 'a', 'b', '0')],
    'STS-B/dev.tsv': [[*STSB_HEAD, 'score'], stsb_row(0, 'A plane takes off.', 'A plane lands.', '5.000')],
    'STS-B/test.tsv': [STSB_HEAD, stsb_row(0, ODD_A, ODD_B), stsb_row(1, 'c', 'd')],
    'QQP/train.tsv': [QQP_HEAD, ['133', '267', '268', ODD_A, ODD_B, '1'], ['7', '8', '9', 'a?', 'b?', ''], ['5', 'z']],
    'QQP/dev.tsv': [QQP_HEAD, ['201', '402', '403', 'Why?', 'How?', '0']],
    'QQP/test.tsv': [['id', 'question1', 'question2'], ['0', ODD_A, ODD_B]],
    'MNLI/train.tsv': [
        MNLI_TRAIN_HEAD,
        mnli_row(0, ODD_A, ODD_B, 'neutral', 'neutral'),
        mnli_row(1, 'a', 'b', 'entailment', 'entailment'),
        mnli_row(2, 'c', 'd', 'contradiction', 'contradiction'),
    ],
    'MNLI/dev_matched.tsv': [MNLI_DEV_HEAD, mnli_row(0, 'e', 'f', *FIVE_VOTES, 'entailment')],
    'MNLI/dev_mismatched.tsv': [MNLI_DEV_HEAD, mnli_row(0, 'g', 'h', *FIVE_VOTES, 'contradiction')],
    'MNLI/test_matched.tsv': [MNLI_HEAD, mnli_row(0, 'i', 'j')],
    'MNLI/test_mismatched.tsv': [MNLI_HEAD, mnli_row(9847, 'k', 'l')],
    'QNLI/train.tsv': [QNLI_HEAD, ['0', 'Who?', ODD_A, 'entailment'], ['1', 'What?', ODD_B, 'not_entailment']],
    'QNLI/dev.tsv': [QNLI_HEAD, ['0', 'Where?', 'There.', 'not_entailment']],
    'QNLI/test.tsv': [QNLI_HEAD[:3], ['0', 'When?', 'Then.']],
    'RTE/train.tsv': [PAIR_HEAD, ['0', ODD_A, ODD_B, 'not_entailment']],
    'RTE/dev.tsv': [PAIR_HEAD, ['0', 'x', 'y', 'entailment']],
    'RTE/test.tsv': [PAIR_HEAD[:3], ['0', 'x', 'y'], ['1', 'u', 'v']],
    'WNLI/train.tsv': [PAIR_HEAD, ['0', ODD_A, ODD_B, '1']],
    'WNLI/dev.tsv': [PAIR_HEAD, ['0', 'The cup fell.', 'It fell.', '0']],
    'WNLI/test.tsv': [PAIR_HEAD[:3], ['0', 'p', 'q']],
    'diagnostic/diagnostic.tsv': [PAIR_HEAD[:3], ['0', 'The cat sat.', ODD_A], ['1', ODD_B, 'r']],
}
SINGLE, SINGLE_TEST = ['label', 'text_a'], ['qid', 'text_a', 'label']
PAIR, PAIR_TEST = ['text_a', 'text_b', 'label'], ['qid', 'text_a', 'text_b', 'label']
TARGETS = {
    'CoLA/train.tsv': [SINGLE, ['1', 'The sailors rode the breeze.'], ['0', 'They drank the pub.']],
    'CoLA/dev.tsv': [SINGLE, ['1', ODD_A]],
    'CoLA/test.tsv': [SINGLE_TEST, ['0', 'Bill whistled past the house.', '-1'], ['1', ODD_B, '-1']],
    'SST-2/train.tsv': [SINGLE, ['1', 'a gorgeous film '], ['0', ODD_A]],
    'SST-2/dev.tsv': [SINGLE, ['0', 'bleak and dull']],
    'SST-2/test.tsv': [SINGLE_TEST, ['0', ODD_B, '-1']],
    'MRPC/train.tsv': [PAIR, [ODD_A, ODD_B, '1'], ['One .', 'Two .', '0']],
    'MRPC/dev.tsv': [PAIR, ['Up .', 'Down .', '0']],
    'MRPC/test.tsv': [PAIR_TEST, ['0', ODD_A, ODD_B, '-1']],
    'STS-B/train.tsv': [PAIR, [ODD_A, ODD_B, '3.800'], ['a', 'b', '0']],
    'STS-B/dev.tsv': [PAIR, ['A plane takes off.', 'A plane lands.', '5.000']],
    'STS-B/test.tsv': [PAIR_TEST, ['0', ODD_A, ODD_B, '-1'], ['1', 'c', 'd', '-1']],
    'QQP/train.tsv': [PAIR, [ODD_A, ODD_B, '1']],
    'QQP/dev.tsv': [PAIR, ['Why?', 'How?', '0']],
    'QQP/test.tsv': [PAIR_TEST, ['0', ODD_A, ODD_B, '-1']],
    'MNLI/train.tsv': [PAIR, [ODD_A, ODD_B, '1'], ['a', 'b', '2'], ['c', 'd', '0']],
    'MNLI/m/dev.tsv': [PAIR, ['e', 'f', '2']],
    'MNLI/mm/dev.tsv': [PAIR, ['g', 'h', '0']],
    'MNLI/m/test.tsv': [PAIR_TEST, ['0', 'i', 'j', '-1']],
    'MNLI/mm/test.tsv': [PAIR_TEST, ['9847', 'k', 'l', '-1']],
    'MNLI/diagnostic.tsv': [PAIR_TEST, ['0', 'The cat sat.', ODD_A, '-1'], ['1', ODD_B, 'r', '-1']],
    'QNLI/train.tsv': [PAIR, ['Who?', ODD_A, '1'], ['What?', ODD_B, '0']],
    'QNLI/dev.tsv': [PAIR, ['Where?', 'There.', '0']],
    'QNLI/test.tsv': [PAIR_TEST, ['0', 'When?', 'Then.', '-1']],
    'RTE/train.tsv': [PAIR, [ODD_A, ODD_B, '0']],
    'RTE/dev.tsv': [PAIR, ['x', 'y', '1']],
    'RTE/test.tsv': [PAIR_TEST, ['0', 'x', 'y', '-1'], ['1', 'u', 'v', '-1']],
    'WNLI/train.tsv': [PAIR, [ODD_A, ODD_B, '1']],
    'WNLI/dev.tsv': [PAIR, ['The cup fell.', 'It fell.', '0']],
    'WNLI/test.tsv': [PAIR_TEST, ['0', 'p', 'q', '-1']],
}


def tsv(rows, end='\n'):
    return ''.join('\t'.join(row) + end for row in rows).encode('utf-8')


def write_glue(folder, *tasks):
    for name, rows in SOURCES.items():
        if not tasks or name.split('/')[0] in tasks:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tsv(rows))
    return folder


def cvt(cwd, *arguments):
    """Runs cvt.sh in the folder `cwd`, as a user does."""
    command = ['sh', str(PREPROCESS / 'cvt.sh'), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, 'PYTHON': sys.executable}, capture_output=True, text=True
    )


@pytest.fixture
def glue(tmp_path):
    return write_glue(tmp_path / 'glue data')


def written(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def test_every_task_is_converted_to_the_byte(tmp_path, glue):
    result = cvt(tmp_path, 'glue data')
    assert result.returncode == 0, result.stderr
    assert written(tmp_path / 'glue_data_processed') == {name: tsv(rows) for name, rows in TARGETS.items()}
    for name, rows in TARGETS.items():
        assert f'{Path("glue_data_processed", name)}: {len(rows) - 1} rows\n' in result.stdout


def test_rows_left_out_are_counted_with_their_lines(tmp_path, glue):
    said = cvt(tmp_path, glue).stdout
    assert 'SST-2/train.tsv: 2 rows left out (not 2 columns), lines 3, 5\n' in said
    assert 'QQP/train.tsv: 2 rows left out (no label), lines 3, 4\n' in said
    assert said.count('left out') == 2


def test_a_task_whose_folder_is_absent_is_said_and_skipped(tmp_path):
    write_glue(tmp_path / 'glue', 'RTE')
    result = cvt(tmp_path, 'glue', '--out', 'elsewhere')
    assert result.returncode == 0
    assert sorted(written(tmp_path / 'elsewhere')) == ['RTE/dev.tsv', 'RTE/test.tsv', 'RTE/train.tsv']
    assert result.stdout.count('no folder') == 9
    assert 'CoLA: no folder glue/CoLA, left out' in result.stdout


def fails(result, *texts, code=1):
    """The result is one line on stderr with all `texts`."""
    assert result.returncode == code
    assert result.stderr.count('\n') == 1
    for text in texts:
        assert text in result.stderr


def test_a_missing_file_of_a_present_task_stops(tmp_path):
    glue = write_glue(tmp_path / 'glue', 'CoLA', 'WNLI')
    (glue / 'CoLA' / 'dev.tsv').unlink()
    fails(cvt(tmp_path, glue), 'CoLA/dev.tsv')
    assert sorted(written(tmp_path / 'glue_data_processed')) == ['CoLA/train.tsv']


def test_no_task_folder_at_all(tmp_path):
    (tmp_path / 'empty').mkdir()
    fails(cvt(tmp_path, 'empty'), 'empty', 'CoLA', 'diagnostic')
    fails(cvt(tmp_path, 'nowhere'), 'nowhere')
    fails(cvt(tmp_path), 'error: the following arguments are required: glue_dir', code=2)
    fails(cvt(tmp_path, 'empty', '--to', 'x'), 'error: unrecognized arguments: --to x', code=2)


BAD_ROWS = {
    'label that is no class': ('RTE/train.tsv', PAIR_HEAD, ['0', 'a', 'b', 'neutral'], "the label 'neutral'"),
    'score above 5': ('STS-B/dev.tsv', [*STSB_HEAD, 'score'], stsb_row(0, 'a', 'b', '5.2'), "the label '5.2'"),
    'score that is no number': (
        'STS-B/dev.tsv',
        [*STSB_HEAD, 'score'],
        stsb_row(0, 'a', 'b', 'nan'),
        "the label 'nan'",
    ),
    'too few columns': ('MRPC/train.tsv', MRPC_HEAD, ['1', '2', '3', 'a'], '4 columns'),
    'dev file with train columns': ('MNLI/dev_matched.tsv', MNLI_TRAIN_HEAD, mnli_row(0, 'a', 'b', 'x', 'y'), '12 col'),
    'tab in a test text': ('CoLA/test.tsv', TEXT_HEAD, ['0', 'a', 'b'], '3 columns'),
}


@pytest.mark.parametrize('case', BAD_ROWS)
def test_a_bad_row_stops_with_file_and_line_and_leaves_the_old_file(tmp_path, case):
    name, head, row, found = BAD_ROWS[case]
    glue = write_glue(tmp_path / 'glue', name.split('/')[0])
    assert cvt(tmp_path, glue).returncode == 0
    before = written(tmp_path / 'glue_data_processed')
    (glue / name).write_bytes(tsv([head, row]))
    fails(cvt(tmp_path, glue), f'{name}:2: found {found}')
    assert written(tmp_path / 'glue_data_processed') == before


@pytest.mark.parametrize('linked', [False, True])
def test_the_download_is_not_written_over(tmp_path, linked):
    glue = write_glue(tmp_path / 'glue', 'RTE')
    out = tmp_path / 'out' if linked else glue
    if linked:
        out.symlink_to('glue')
    before = written(glue)
    fails(cvt(tmp_path, glue, '--out', out), 'the same file as', 'Choose another --out')
    assert written(glue) == before


def test_text_that_is_not_utf8(tmp_path):
    glue = write_glue(tmp_path / 'glue', 'CoLA')
    (glue / 'CoLA' / 'dev.tsv').write_bytes(tsv(SOURCES['CoLA/dev.tsv']) + b'gj04\t1\t\tcaf\xe9\n')
    fails(cvt(tmp_path, glue), 'CoLA/dev.tsv:2', '0xe9', 'UTF-8')


def test_windows_line_ends_byte_order_mark_and_blank_lines(tmp_path):
    glue = write_glue(tmp_path / 'glue', 'CoLA')
    (glue / 'CoLA' / 'dev.tsv').write_bytes(b'\xef\xbb\xbf' + tsv(SOURCES['CoLA/train.tsv'], '\r\n') + b'\r\n')
    assert cvt(tmp_path, glue).returncode == 0
    out = tmp_path / 'glue_data_processed' / 'CoLA'
    assert (out / 'dev.tsv').read_bytes() == (out / 'train.tsv').read_bytes() == tsv(TARGETS['CoLA/train.tsv'])


FILTERS = [
    ('mnli.py', 'MNLI/train.tsv', 'MNLI/train.tsv'),
    ('mnli.py', 'MNLI/dev_matched.tsv', 'MNLI/m/dev.tsv'),
    ('mnli.py', 'MNLI/test_mismatched.tsv', 'MNLI/mm/test.tsv'),
    ('qnli.py', 'QNLI/train.tsv', 'QNLI/train.tsv'),
    ('qnli.py', 'RTE/dev.tsv', 'RTE/dev.tsv'),
    ('qnli.py', 'RTE/test.tsv', 'RTE/test.tsv'),
]


def run_filter(program, data, cwd):
    command = [sys.executable, str(PREPROCESS / program)]
    return subprocess.run(command, cwd=cwd, input=data, capture_output=True)


@pytest.mark.parametrize(('program', 'source', 'target'), FILTERS)
def test_the_filters_know_the_kind_of_file_by_its_columns(tmp_path, program, source, target):
    result = run_filter(program, tsv(SOURCES[source]), tmp_path)
    assert (result.returncode, result.stderr) == (0, b'')
    assert result.stdout == tsv(TARGETS[target])


def test_a_filter_names_the_line_that_it_cannot_convert(tmp_path):
    result = run_filter('mnli.py', tsv([*SOURCES['MNLI/train.tsv'], mnli_row(3, 'a', 'b', '-', '-')]), tmp_path)
    assert result.returncode == 1
    assert b"error: <stdin>:5: found the label '-'" in result.stderr
    assert run_filter('qnli.py', b'', tmp_path).stderr.startswith(b'error: <stdin>: found nothing')


def test_real_cola_sentences_survive_the_round_through_glue(tmp_path):
    folder = os.environ.get('ERNIE_TEST_DATA')
    path = Path(folder or '.', 'cola_en', 'train.tsv')
    if not folder or not path.is_file():
        pytest.skip('needs ERNIE_TEST_DATA')
    lines = path.read_text(encoding='utf-8').split('\n')[1:-1]
    rows = [['gj04', label, '', text] for label, text in (line.split('\t') for line in lines)]
    glue = write_glue(tmp_path / 'glue', 'CoLA')
    (glue / 'CoLA' / 'train.tsv').write_bytes(tsv(rows))
    assert cvt(tmp_path, glue).returncode == 0
    assert (tmp_path / 'glue_data_processed' / 'CoLA' / 'train.tsv').read_bytes() == path.read_bytes()
