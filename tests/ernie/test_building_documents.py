"""Documents from files: what is found, and one clear line for what is wrong."""

import gzip
import json
import os
from collections import Counter

import pytest

from ernie.pretrain.building import documents
from ernie.pretrain.building.documents import Form, input_files, read_documents
from propeller.errors import UserError


def read(*paths, **form):
    return [d.paragraphs for d in read_documents(list(map(str, paths)), Form(**form))]


def test_text_and_gzip_hold_the_same_documents(tmp_path):
    text = '\ufeff第一段。\r\n第二段\u2028还是第二段。\n\n \t \n\nSecond document, one line\n\n\n😀\n第三\n\n'
    (tmp_path / 'a.txt').write_bytes(text.encode())
    with gzip.open(tmp_path / 'b.gz', 'wb') as f:
        f.write(text.encode())
    expected = [['第一段。', '第二段\u2028还是第二段。'], ['Second document, one line'], ['😀', '第三']]
    assert read(tmp_path / 'a.txt') == expected
    assert read(tmp_path / 'b.gz', tmp_path / 'a.txt') == expected * 2
    names = [d.name for d in read_documents([str(tmp_path / 'a.txt')])]
    assert names == [f'{tmp_path / "a.txt"}:{line}' for line in (1, 6, 9)]


def test_json_lines(tmp_path):
    rows = [{'id': 7, 'body': 'a\n\n b \nc'}, {'id': 'x', 'body': ' \n'}, {'id': None, 'body': '二'}]
    path = tmp_path / 'd.jsonl.gz'
    path.write_bytes(gzip.compress(('\n\n'.join(map(json.dumps, rows)) + '\n').encode()))
    skipped = Counter()
    found = list(read_documents([str(path)], Form('body', 'id'), skipped))
    assert found == [('7', ['a', 'b', 'c'], 0), ('None', ['二'], 1)]
    assert skipped == {'empty documents': 1}


def test_headings_start_documents(tmp_path):
    lines = [
        '大/a  标题/n',
        '副题/n',
        '正文/n  。/w',
        '又/d  一段/n  ！/w',
        '（/w 附/v 图/n ）/w',
        '新/a 标题/n',
        '正文/n 。/w',
    ]
    (tmp_path / 'p').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    assert read(tmp_path / 'p', boundary='title') == [lines[:5], lines[5:]]
    assert read(tmp_path / 'p') == [lines]


def test_long_documents_go_on_as_another(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, 'MOST_DOCUMENT_CHARACTERS', 10)
    lines = ['一二三四', '五六七八', '九十', 'abcdefghijklmnop', '结尾']
    (tmp_path / 'a').write_text('\n'.join(lines), encoding='utf-8')
    (tmp_path / 'a.json').write_text(json.dumps({'text': '\n'.join(lines)}), encoding='utf-8')
    for path in ('a', 'a.json'):
        found = read(tmp_path / path)
        assert [line for document in found for line in document] == lines
        assert len(found) > 1
        assert all(sum(map(len, d)) <= 10 or len(d) == 1 for d in found)


def test_parts_of_a_long_document_have_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, 'MOST_DOCUMENT_CHARACTERS', 10)
    lines = ['a', '', 'x', '一二三四五六七八九十', 'y', 'z一二三四五六七八', 'w', '', 'b']
    (tmp_path / 'a').write_text('\n'.join(lines), encoding='utf-8')
    parts = list(read_documents([str(tmp_path / 'a')]))
    assert [part.number for part in parts if part.paragraphs[0] in 'ab'] == [0, 2]
    assert {part.name for part in parts if part.number == 1} == {f'{tmp_path / "a"}:3'}
    assert len([part for part in parts if part.number == 1]) > 2


def test_folders_are_read_in_order_of_names(tmp_path):
    for name in ('b/2.txt', 'b/1.txt', 'a.txt', '.hidden', 'c/.git/x', 'b/10.txt'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    found = input_files([tmp_path, tmp_path / '.hidden'])
    assert [os.path.relpath(path, tmp_path) for path in found] == ['a.txt', 'b/1.txt', 'b/10.txt', 'b/2.txt', '.hidden']


@pytest.mark.parametrize(
    ('name', 'content', 'expected'),
    [
        ('empty', b'', r'empty: found an empty file'),
        ('blank', b'\n \n\n', r'blank: found no text'),
        ('bytes', '好\n'.encode() + b'ab\xffc', r'bytes:2: found byte 0xff at byte 3 of the line, expected UTF-8'),
        ('gbk', 'abc 中国人民。\n'.encode('gbk'), r'gbk:1: .*byte 5 of the line \(it reads as GB18030.*iconv'),
        ('latin', 'müßte, déjà'.encode('latin-1'), r'latin:1: .*byte 2 of the line, exp.*UTF-8 if it is text'),
        ('big5', '臺灣的歷史'.encode('big5'), r'big5:1: .*byte 1 of the line, expected UTF-8'),
        ('png', b'\x89PNG\r\n\x1a\n', r'png:1: .*else leave it out of the input'),
        ('cut', '好'.encode()[:2], r'cut:1: found byte 0xe5'),
        ('binary', b'\x7fELF\x02\x00\x00', r'binary:1: found a NUL byte at byte 6 of the line \(a binary file\?\)'),
        ('plain.gz', b'not gzip', r'plain.gz: found damaged gzip data after line 0'),
        ('half.gz', gzip.compress(b'line\n' * 9999, mtime=0)[:40], r'half.gz: found damaged gzip data after line \d+'),
        ('empty.gz', gzip.compress(b'', mtime=0), r'empty.gz: found an empty file'),
        ('x.jsonl', b'{"text": "a"}\n{"text" "b"}\n', r'x.jsonl:2: found bad JSON'),
        ('y.jsonl', b'{"body": "a", "id": 3}\n', r"y.jsonl:1: found the fields 'body', 'id', expected a field 'text'"),
        ('z.jsonl', b'["a"]\n', r"z.jsonl:1: found the fields list, expected a field 'text'"),
        ('v.jsonl', b'{"text": 3}\n', r"v.jsonl:1: found 'text' of type int, expected a string"),
    ],
)
def test_bad_files_are_named_with_the_line(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=expected) as e:
        read(tmp_path / name)
    assert '\n' not in str(e.value)


def test_a_file_without_line_ends_is_refused_without_reading_it_all(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, 'MOST_LINE_BYTES', 1 << 20)
    (tmp_path / 'a').write_bytes(b'x' * (3 << 20))
    with pytest.raises(UserError, match='a:1: found a line of more than 1 MB, expected one paragraph a line'):
        read(tmp_path / 'a')


def test_paths_that_are_not_there(tmp_path):
    (tmp_path / 'folder').mkdir()
    for path, expected in ((tmp_path / 'no', 'no such file'), (tmp_path / 'folder', 'a folder without files')):
        with pytest.raises(UserError, match=expected):
            input_files([path])
    (tmp_path / 'folder' / 'a.txt').symlink_to('no')
    with pytest.raises(UserError, match='a.txt: found a link to a file that is not there'):
        input_files([tmp_path / 'folder'])


def test_the_vocabulary_is_no_text(tmp_path, caplog):
    """Under its own name, by a link, and as a copy; another file of its size is text."""
    vocabulary = tmp_path / 'model' / 'vocab.txt'
    texts = tmp_path / 'texts'
    for folder in (vocabulary.parent, texts):
        folder.mkdir()
    vocabulary.write_text('[PAD]\n[UNK]\n', encoding='utf-8')
    (texts / 'a.txt').write_text('[UNK]\n[PAD]\n', encoding='utf-8')
    (texts / 'copy.txt').write_bytes(vocabulary.read_bytes())
    (texts / 'hard.txt').hardlink_to(vocabulary)
    (texts / 'soft.txt').symlink_to(vocabulary)
    caplog.set_level('INFO')
    assert input_files([texts, vocabulary], vocabulary) == [str(texts / 'a.txt')]
    told = sorted(record.getMessage().partition(': the vocabulary is not read')[0] for record in caplog.records)
    assert told == sorted(map(str, [vocabulary, *(texts / f'{name}.txt' for name in ('copy', 'hard', 'soft'))]))
    assert len(input_files([texts, vocabulary])) == 5
    with pytest.raises(UserError, match='found no file with text'):
        input_files([vocabulary], vocabulary)


def test_what_a_builder_has_made_is_no_text(tmp_path):
    (tmp_path / 'a.txt').write_text('a')
    for folder, manifest in (('made', '{"settings": {}, "shards": {}}'), ('other', '{"name": "x"}')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'manifest.json').write_text(manifest)
        for name in ('train-00000.gz', 'valid_filelist', 'report.txt', 'notes.txt'):
            (tmp_path / folder / name).write_text('x')
    found = [os.path.relpath(path, tmp_path) for path in input_files([tmp_path])]
    others = ('manifest.json', 'notes.txt', 'report.txt', 'train-00000.gz', 'valid_filelist')
    assert found == ['a.txt', 'made/notes.txt', *(f'other/{name}' for name in others)]
