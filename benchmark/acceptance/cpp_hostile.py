"""Hostile models, files and flags for the programs of `inference/`: one clear line each, and nothing of a sanitizer.

    python -m benchmark.acceptance.cpp_hostile MODEL [--sanitize address,undefined]

MODEL is an export of a model for classes, in ONNX or of the format `fused`, which says which backend is tried. The
programs are built, with the sanitizers that are named. Prints the line of each input; exit code 1 where one ends
otherwise than it should.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmark.acceptance.cpp_cases import (
    GOOD,
    Case,
    append,
    as_folder,
    changed_json,
    cut,
    fifo,
    grow,
    remove,
    rename,
    sample,
    subword,
    words,
    write,
)
from benchmark.acceptance.cpp_weights import WEIGHTS
from benchmark.acceptance.sentencepiece_files import USER_DEFINED, model_of, rules_of
from benchmark.cpp import FUSED_ALONE, build
from ernie.run.exported import FUSED, INFERENCE
from ernie.tokenizers.subword_files import OFFICIAL_MODEL, PICKLED_WORDS, PLAIN_WORDS
from propeller.errors import one_line_errors
from propeller.inputs import read_json_object

MODELS = [
    Case('no inference.json', r'no inference\.json', remove('inference.json')),
    Case('inference.json is a list', 'JSON that is no object', write('inference.json', '[]')),
    Case('half of inference.json', r'inference\.json:\d+: found bad JSON', cut('inference.json', 0.5)),
    Case('an empty inference.json', 'bad JSON', write('inference.json', '')),
    Case('brackets', 'more than 100 levels', write('inference.json', '[' * 1_000_000)),
    Case('a name twice', "'format' twice", write('inference.json', '{"format": "onnx", "format": "onnx"}')),
    Case('a huge number', 'found the number', write('inference.json', '{"format": 1e999}')),
    Case('inference.json of 20 MB', 'more than 16777216 bytes', write('inference.json', b' ' * 20_000_000)),
    Case('another format', "a model of the format 'torch'", changed_json('inference.json', format='torch')),
    Case('the format of Paddle', '--export_format (onnx|fused)', changed_json('inference.json', format='paddle')),
    Case('another precision', "precision 'int4'", changed_json('inference.json', precision='int4')),
    Case('no constants', 'no object constants', changed_json('inference.json', constants=None)),
    Case('no outputs', 'no outputs', changed_json('inference.json', outputs=[])),
    Case('a shape of words', 'the shape', changed_json('inference.json', outputs=[{'shape': ['a']}])),
    Case('no configuration', r'ernie_config\.json: found no such file', remove('ernie_config.json')),
    Case('few words', 'ids below vocab_size 7', changed_json('ernie_config.json', vocab_size=7)),
    Case('few positions', 'max_seq_len', changed_json('ernie_config.json', max_position_embeddings=5)),
    Case(
        'a task id that nobody reads',
        'a model of 4 inputs|no task_type_vocab_size',
        changed_json('ernie_config.json', use_task_id=True),
    ),
    Case('no labels.json', r'labels\.json: found no such file', remove('labels.json')),
    Case('another task', "the task 'poetry'", changed_json('labels.json', task='poetry')),
    Case('another kind', 'found another kind', changed_json('labels.json', kind='ranking')),
    Case('labels of numbers', 'a list of names', changed_json('labels.json', labels=[1, 2, 3])),
    Case(
        'more labels',
        'labels, expected|labels.json say',
        changed_json('labels.json', labels=list('abcdefgh'), num_labels=8),
    ),
    Case('another count', 'as many as num_labels says', changed_json('labels.json', num_labels=9)),
    Case('no tokens', 'max_seq_len', changed_json('labels.json', max_seq_len=2)),
    Case('a negative length', 'max_seq_len', changed_json('labels.json', max_seq_len=-1)),
    Case('a truncation', "truncation 'middle'", changed_json('labels.json', truncation='middle')),
    Case('columns', 'columns of another kind', changed_json('labels.json', columns=['text_b'])),
    Case('no vocabulary', r'vocab\.txt: found no such file', remove('vocab.txt')),
    Case('an empty vocabulary', 'an empty file', write('vocab.txt', '')),
    Case('a vocabulary with a gap', 'found id 9000000', write('vocab.txt', '[PAD]\t0\n[CLS]\t1\na\t9000000\n')),
    Case('an id twice', 'each id once', write('vocab.txt', '[PAD]\t0\n[CLS]\t0\n')),
    Case('no special tokens', r'no token \[PAD\]', write('vocab.txt', 'a\nb\n')),
    Case('a vocabulary of bytes', 'byte 0x80 that is not UTF-8', write('vocab.txt', bytes(range(128, 256)))),
    Case('the vocabulary is a folder', 'found a folder', as_folder('vocab.txt')),
    Case('the vocabulary is a FIFO', 'found a FIFO', fifo('vocab.txt')),
    Case('a token too many', 'ids below vocab_size|found one token a line', append('vocab.txt', b'\nx' * 100)),
    Case(
        'another tokenizer',
        'found tokenizer_class',
        changed_json('tokenizer_config.json', tokenizer_class='T5Tokenizer'),
    ),
    Case('two letter cases', 'another do_lower_case', changed_json('tokenizer_config.json', do_lower_case=False)),
]
ONNX = [
    Case('no model', r'model\.onnx: found no such file', remove('model.onnx')),
    Case('an empty model', 'OpenVINO cannot', write('model.onnx', '')),
    Case('half a model', 'OpenVINO cannot', cut('model.onnx', 0.5)),
    Case('nearly a model', 'OpenVINO cannot', cut('model.onnx', 0.999)),
    Case('a model of noise', 'OpenVINO cannot', write('model.onnx', bytes(range(256)) * 40)),
    Case('a model of nothing', 'OpenVINO cannot', write('model.onnx', b'\x08\x07\x3a\x00')),
]
WORDS = [
    Case('words at spaces', '', words('spaces'), content=b'a \xe4\xbb\x8a\xe5\xa4\xa9 \xce\xa3\n'),
    Case('a lexer', """found lexer '"jieba"', expected spaces""", words('jieba')),
    Case('a lexer of numbers', r"found lexer '\[7\]', expected spaces", words([7])),
]
SUBWORDS = [
    Case('subwords', '', subword()),
    Case('subwords of a rule', '', subword(rules=rules_of()), content='abaaΣ 今天\n'.encode()),
    Case('a word of 300 KB', '', subword(rules=rules_of()), content=b'a' * 300_000),
    Case('a text of 300 KB without pieces', '', subword(), content='龘'.encode() * 100_000),
    Case('no subword', 'subword: found no such folder', subword(lambda f: shutil.rmtree(f / 'subword'))),
    Case('subword is a file', 'found', subword(lambda f: shutil.rmtree(f / 'subword'), write('subword', ''))),
    Case('another tokenizer beside', 'none beside FullTokenizer', lambda f: (f / 'subword').mkdir()),
    Case('no sentencepiece model', 'simp_sampled.model: found no such file', subword(remove(OFFICIAL_MODEL))),
    Case('no word dictionary', 'wordseg.txt: found no such file', subword(remove(PLAIN_WORDS))),
    Case('a pickle alone', 'found a pickle', subword(rename(PLAIN_WORDS, PICKLED_WORDS))),
    Case('a pickle as text', 'found a pickle', subword(write(PLAIN_WORDS, b'\x80\x04\x8f.'))),
    Case('an old pickle', 'found a pickle', subword(write(PLAIN_WORDS, '(lp0\nVa\n'))),
    Case('words of bytes', r':2: found byte 0xff', subword(write(PLAIN_WORDS, b'ab\n\xff\n'))),
    Case('words of fields', r':1: found 2 fields', subword(write(PLAIN_WORDS, 'ab\tc\n'))),
    Case('words of zeros', r':1: found a NUL byte', subword(write(PLAIN_WORDS, 'a\0\n'))),
    Case('no words', 'no word of 2 to 5 characters', subword(write(PLAIN_WORDS, 'abcdef\n\na\n'))),
    Case('an empty dictionary', 'no word of 2 to 5 characters', subword(write(PLAIN_WORDS, ''))),
    Case('a dictionary of 200 MB', 'more than 134217728 bytes', subword(grow(PLAIN_WORDS, 200_000_000))),
    Case('the dictionary is a FIFO', 'found a FIFO', subword(fifo(PLAIN_WORDS))),
    Case('a word of 10 MB in it', '', subword(append(PLAIN_WORDS, b'a' * 10_000_000))),
    Case('an empty sentencepiece model', 'an empty file', subword(model=b'')),
    Case('half a sentencepiece model', 'content that is no model', subword(cut(OFFICIAL_MODEL, 0.5))),
    Case('sentencepiece of noise', 'content that', subword(model=bytes(range(256)) * 40)),
    Case('sentencepiece of zeros', 'content that', subword(model=bytes(9999))),
    Case('sentencepiece of 200 MB', 'more than 134217728 bytes', subword(grow(OFFICIAL_MODEL, 200_000_000))),
    Case('no unknown piece', 'sentencepiece cannot read', subword(model=model_of(['a', 'b'], unknown=False))),
    Case('a piece twice', 'sentencepiece cannot read', subword(model=model_of(['a', 'a']))),
    Case('an empty piece', 'sentencepiece cannot read', subword(model=model_of(['a', '']))),
    Case('two unknown pieces', 'sentencepiece cannot read', subword(model=model_of(['a'], kind=2))),
    Case('a piece of bytes', 'sentencepiece|UTF-8', subword(model=model_of([b'\xff\xfe']))),
    Case('pieces of a user', 'a piece that a user defined', subword(model=model_of(['a'], kind=USER_DEFINED))),
    Case('of another vocabulary', '0 of 2 pieces in', subword(model=model_of(['qqq', 'rrr']))),
    Case('rules of three bytes', 'broken rules', subword(rules=b'abc')),
    Case('rules longer than all', 'broken rules', subword(rules=b'\xff\xff\xff\x7fabc')),
    Case('rules without a block', 'broken rules', subword(rules=rules_of(units=8))),
    Case('rules of an odd size', 'broken rules', subword(rules=b'\x03\x04\0\0' + bytes(2000))),
    Case('rules without an end', 'broken rules', subword(rules=rules_of(becomes=b'b'))),
    Case('rules without texts', 'broken rules', subword(rules=rules_of(becomes=b''))),
    Case('a text far away', 'broken rules', subword(rules=rules_of(value=1 << 30))),
    Case('the text behind the last', 'broken rules', subword(rules=rules_of(value=2))),
    Case('a step far away', 'broken rules', subword(rules=rules_of(base=1 << 20))),
    Case('a first step far away', 'broken rules', subword(rules=rules_of(root=1 << 20))),
    Case('rules that go on for ever', 'broken rules', subword(rules=rules_of(base=256))),
    Case('rules of 2 MB', 'broken rules', subword(rules=rules_of(units=1 << 19))),
    Case('another sentencepiece model', 'simp_sampled.model: found SHA-256',
         subword(changed_json('tokenizer_config.json', subword={OFFICIAL_MODEL: '0' * 64, 'words': '0' * 64}))),
    Case('no sums', 'another subword', subword(changed_json('tokenizer_config.json', subword=[]))),
    Case('sums of numbers', 'found SHA-256',
         subword(changed_json('tokenizer_config.json', subword={OFFICIAL_MODEL: 7}))),
]  # fmt: skip
ROWS = [
    Case('no file', 'a file that cannot be read', content=None),
    Case('an empty file', 'an empty file', content=b''),
    Case('an array', 'a JSON array', content=b'[{"text_a": "a"}]', file='rows.json'),
    Case('half an object', r':1: found bad JSON', content=b'{"text_a": "a'),
    Case('a second line that is broken', r':2: found bad JSON', content=GOOD.encode() + b'{"text_a" "a"}'),
    Case('a number', ':1: found 7', content=b'7\n', file='rows.jsonl'),
    Case('no text', r":1: found only 'x'", content=b'{"x": 1}'),
    Case('a list as text', 'found a list as text_a', content=b'{"text_a": [1]}'),
    Case('half of a pair', 'half of a surrogate pair', content=b'{"text_a": "\\ud800"}'),
    Case('deep', 'more than 100 levels', content=b'{"text_a": ' + b'[' * 100_000),
    Case('invalid UTF-8', ':1: found byte 0xff at byte 3', content=b'ab\xff\n'),
    Case('UTF-8 that ends early', ':2: found byte 0xe4', content=b'ab\n\xe4\xbd'),
    Case('overlong UTF-8', 'found byte 0xc0', content=b'\xc0\xafab'),
    Case('bytes in JSON', 'found byte 0xfe', content=b'{"text_a": "\xfe"}'),
    Case('zeros', '', content=b'\0\0\0\n\0'),
    Case('a line of 10 MB', '', content='好'.encode() * 3_400_000, flags=('--skip_bad_rows', 'true')),
    Case('a word of 10 MB', '', content=b'a' * 10_000_000),
    Case('a line of marks', '', content='\u302e\U0001d165'.encode() * 500_000),
    Case('another header', "found the columns 'x', 'y'", content=b'x\ty\n1\t2\n'),
    Case('a column twice', "the column 'text_a' twice", content=b'text_a\ttext_a\na\tb\n'),
    Case('a column without a name', 'a column without a name', content=b'text_a\t\na\tb\n'),
    Case('cells missing', ':3: found 1 cells, expected 2', content=b'text_a\tlabel\na\t1\nb\n'),
    Case('a header alone', 'a header line and no row', content=b'text_a\tlabel\n'),
    Case('CSV', 'a file of another form', content=b'text_a,label\n', file='rows.csv'),
    Case('an unknown flag', '--nothing is no flag', flags=('--nothing', '1')),
    Case('a flag without a value', '--top_k: a value is missing', flags=('--top_k',)),
    Case('a flag twice', 'given twice', flags=('--top_k', '1', '--top_k', '1')),
    Case('no classes', "--top_k '0'", flags=('--top_k', '0')),
    Case('threads of words', "--threads 'all'", flags=('--threads', 'all')),
    Case('too sure', "--min_confidence '2'", flags=('--min_confidence', '2')),
    Case('another precision', "--precision 'fp16'", flags=('--precision', 'fp16')),
    Case('more streams than threads', '--streams 9', flags=('--threads', '1', '--streams', '9')),
    Case('no place for results', 'cannot be written', flags=('--output', '/nothing/of/the/kind')),
]
SAMPLES = [
    Case(name, said, content=content, program='inference', flags=('--output_prediction', 'true'))
    for name, said, content in (
        ('a sample', '', sample()),
        ('a sample of propeller', '', sample('1 2 3', '0 0 1')),
        ('no samples', 'no sample', b''),
        ('letters', r"Parse line\[1\] error! found 'x'", sample('1 x 3', '0 0 0', '0 1 2', '1 1 1')),
        ('no colon', 'no colon', b'1 2 3\n'),
        ('three tensors', '3 tensors', sample('1 2 3', '0 0 0', '0 1 2')),
        ('six tensors', 'more than 4 tensors', sample(*['1 2 3'] * 6)),
        ('few numbers', '2 numbers of the token ids', sample('1 2', '0 0 0', '0 1 2', '1 1 1')),
        ('a huge shape', 'expected', sample(shape='99999999 99999999 1')),
        ('no rows', 'a size below 1', sample(shape='0 3 1')),
        ('one size', 'a shape of another form', sample(shape='3')),
        ('negative ids', 'among the token ids', sample('1 -2 3', '0 0 0', '0 1 2', '1 1 1')),
        ('ids beyond the table', 'among the token ids', sample('1 999999999 3', '0 0 0', '0 1 2', '1 1 1')),
        ('positions before types', 'sentence types stand before', sample('1 2 3', '0 1 2', '0 0 0', '1 1 1')),
        ('broken ids', 'among the token ids', sample('1 2.5 3', '0 0 0', '0 1 2', '1 1 1')),
        ('a mask of nan', 'of the mask', sample('1 2 3', '0 0 0', '0 1 2', '1 nan 1')),
        ('another mask', 'a mask of other numbers', sample('1 2 3', '0 0 0', '0 1 2', '1 7 1')),
        ('a line of 10 MB', 'expected', b'1 2 1:' + b'1 ' * 5_000_000 + b'\n'),
    )
]  # fmt: skip
COMMON = MODELS + WORDS + SUBWORDS + ROWS + SAMPLES
CASES = {'onnx': COMMON + ONNX, FUSED: COMMON + WEIGHTS}  # by the format of the model


def outcome(case, programs, model, place):
    """(exit code, standard error) of a program. place: an empty folder."""
    folder = place / 'model'
    shutil.copytree(model, folder)
    if case.change:
        case.change(folder)
    path = place / case.file
    if case.content is not None:
        path.write_bytes(case.content)
    given = [folder, path] if case.program == 'ernie_predict' else ['--model_dir', folder, '--data', path]
    command = [programs / case.program, *given, *case.flags]
    command += [] if '--threads' in case.flags else ['--threads', '1']
    # OpenVINO keeps memory to the end; its threads' library is loaded as AddressSanitizer does not allow, unless asked.
    environ = {'ASAN_OPTIONS': 'detect_leaks=0', 'TBB_ENABLE_SANITIZERS': '1'}
    done = subprocess.run(command, capture_output=True, timeout=280, env=os.environ | environ)
    return done.returncode, done.stderr.decode(errors='replace')


def fault(case, code, said):
    """What is wrong with an outcome, or None."""
    lines = said.splitlines()
    if 'Sanitizer' in said or 'runtime error' in said or code < 0:
        return 'a report, or a crash'
    if not case.said:
        return None if code == 0 else 'it failed'
    if code not in (1, 2):
        return f'exit code {code}'
    if not re.search(case.said, lines[0] if lines else ''):
        return f'something else than {case.said!r}'
    # Of samples each bad line is named, then that there was none to compute.
    most = 2 if case.program == 'inference' else 1
    return None if len(lines) <= most and len(lines[0]) < 1000 else 'more than a line'


def main(argv=None):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', type=Path, help='an export of a model for classes: in ONNX, or fused')
    parser.add_argument('--sanitize', default='', help='address,undefined or thread')
    args = parser.parse_args(argv)
    form = read_json_object(args.model / INFERENCE)['format']
    options = [FUSED_ALONE] if form == FUSED else []
    programs = build(*options, *([f'-DERNIE_SANITIZE={args.sanitize}'] if args.sanitize else []))
    wrong, cases = 0, CASES[form]
    for case in cases:
        with tempfile.TemporaryDirectory() as place:
            code, said = outcome(case, programs, args.model, Path(place))
        what = fault(case, code, said)
        wrong += what is not None
        first = said.splitlines()[0][:150] if said else ''
        print(f'{case.name}: exit code {code}, {first}' + (f' <- {what}' if what else ''), flush=True)
        if what:
            print(said[:3000])
    print(f'{len(cases)} inputs, {wrong} end otherwise than they should')
    return 1 if wrong else 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
