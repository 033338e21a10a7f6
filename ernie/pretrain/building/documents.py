"""Documents out of text files, gzip files, JSON lines and folders of them, as a stream with bounded memory.

Text: one paragraph a line, a blank line between documents. JSON lines: one document a line, its text in one field,
paragraphs separated by line breaks.
"""

import filecmp
import gzip
import os
import re
import zlib
from codecs import BOM_UTF8
from typing import NamedTuple

from ernie.pretrain.building.shards import samples_in
from propeller.errors import bad_input, quoted
from propeller.inputs import open_data, parse_json
from propeller.log import get_logger

log = get_logger(__name__)

MOST_LINE_BYTES = 16 << 20
MOST_DOCUMENT_CHARACTERS = 1 << 20
BOUNDARIES = ('blank', 'title')
_JSON_SUFFIXES = ('.jsonl', '.ndjson', '.json')
_TAG = re.compile(r'/[A-Za-z]+$')
# A line that ends with one of these is running text; a heading does not.
_ENDS_OF_TEXT = tuple('。！？；：，、…”’』」）)】》.!?;:,"\'')
_MOST_TITLE_WORDS = 40


class Document(NamedTuple):
    """A document: its place (`file:line`) or id, its paragraphs, none of them blank, and its number in the stream.

    Parts of a document that was cut because of its length have the same name and number.
    """

    name: str
    paragraphs: list
    number: int = 0


class Form(NamedTuple):
    """How documents are found in files.

    text_field, id_field: fields of JSON lines; without id_field a document is named by file and line.
    boundary: `blank`: blank lines part documents; `title`: so does a heading, that is a line of up to 40 words
        without punctuation at its end after a line with it (words between spaces; without spaces, characters).
    """

    text_field: str = 'text'
    id_field: str = ''
    boundary: str = 'blank'


def input_files(paths, vocabulary=None):
    """Files and folders -> list of files; those of a folder, subfolders included, by name.

    Left out are hidden files; what a builder has made, where it stands in a folder; and the vocabulary. The last two
    are logged.

    Args:
        paths: files and folders.
        vocabulary: None, or the path of the file whose lines are tokens: it is not text, under no name.

    Raises:
        UserError: a path does not exist, a folder holds no file, or there is no path at all.
    """
    found = []
    for path in map(os.fspath, paths):
        if os.path.isdir(path):
            inside = sorted(_inside(path))
            if not inside:
                raise bad_input(path, 'a folder without files', 'text files, .gz files or JSON lines')
            found += inside
        elif os.path.exists(path):
            found.append(path)
        else:
            raise bad_input(path, 'no such file', 'a text file, a .gz file, JSON lines or a folder of such files')
    for path in found:
        if not os.path.exists(path):
            raise bad_input(path, 'a link to a file that is not there', 'a text file', advice='Remove it or mend it.')
    texts = [path for path in found if vocabulary is None or not _is_same(path, vocabulary)]
    for path in sorted(set(found) - set(texts)):
        log.info('%s: the vocabulary is not read as text', path)
    if not texts:
        raise bad_input('--input', 'no file with text', 'at least one file or folder')
    return texts


def _is_same(path, other):
    """Whether two names stand for one file, or for two with the same bytes."""
    try:
        return os.path.samefile(path, other) or (
            os.path.isfile(path)
            and os.path.getsize(path) == os.path.getsize(other)
            and filecmp.cmp(path, other, shallow=False)
        )
    except OSError:  # what cannot be read is told when it is read as text
        return False


def _inside(folder):
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith('.')]
        if made := samples_in(parent):
            log.info('%s: what a builder has made is not read as text: %d files', parent, len(made))
            names = [name for name in names if name not in made]
        yield from (os.path.join(parent, name) for name in names if not name.startswith('.'))


def read_documents(paths, form=None, skipped=None):
    """Iterates over the documents of files, in order.

    A document of more than `MOST_DOCUMENT_CHARACTERS` goes on as a further document.

    Args:
        paths: files, as from `input_files`. The name decides: `.gz` is unpacked; `.jsonl`, `.ndjson` and `.json`, also
            before `.gz`, are JSON lines; all others are text.
        form: a `Form`.
        skipped: None, or a collections.Counter that takes what was left out or cut, by reason.

    Yields:
        `Document`.

    Raises:
        UserError: a file cannot be read, is empty or damaged, holds a NUL byte or a byte that is not UTF-8, a line of
            more than `MOST_LINE_BYTES`, or a JSON line that is not as expected. The text names file and line.
    """
    form = form or Form()
    skipped = {} if skipped is None else skipped
    number, last_name = -1, None
    for path in paths:
        read = _json_documents if path.lower().removesuffix('.gz').endswith(_JSON_SUFFIXES) else _text_documents
        found = False
        for document in read(path, form, skipped):
            found = True
            number += document.name != last_name
            last_name = document.name
            yield from _bounded(document._replace(number=number), skipped)
        if not found:
            raise bad_input(path, 'no text', 'paragraphs of text, a blank line between documents')


def _bounded(document, skipped):
    paragraphs, characters = [], 0
    for paragraph in document.paragraphs:
        if paragraphs and characters + len(paragraph) > MOST_DOCUMENT_CHARACTERS:
            _count(skipped, 'documents cut in two because of their length')
            yield document._replace(paragraphs=paragraphs)
            paragraphs, characters = [], 0
        paragraphs.append(paragraph)
        characters += len(paragraph)
    yield document._replace(paragraphs=paragraphs)


def _count(skipped, reason):
    skipped[reason] = skipped.get(reason, 0) + 1


def _text_documents(path, form, skipped):
    paragraphs, first, characters, after_text, cut = [], 0, 0, False, False
    for number, line in lines_of(path):
        line = line.strip()
        titled = form.boundary == 'title' and line and _is_title(line)
        if paragraphs and (not line or (titled and after_text)):
            yield Document(f'{path}:{first}', paragraphs)
            paragraphs, characters, cut = [], 0, False
        elif characters > MOST_DOCUMENT_CHARACTERS:
            _count(skipped, 'documents cut in two because of their length')
            yield Document(f'{path}:{first}', paragraphs)
            paragraphs, characters, cut = [], 0, True
        if line:
            first = first if paragraphs or cut else number
            paragraphs.append(line)
            characters += len(line)
        cut = cut and bool(line)
        after_text = bool(line) and not titled
    if paragraphs:
        yield Document(f'{path}:{first}', paragraphs)


def _is_title(line):
    words = line.split()
    if len(words) == 1:
        words = line
    return len(words) <= _MOST_TITLE_WORDS and not _TAG.sub('', words[-1]).endswith(_ENDS_OF_TEXT)


def _json_documents(path, form, skipped):
    for number, line in lines_of(path):
        if not line.strip():
            continue
        row = parse_json(line, path, 'one JSON object a line', number, finite=False)
        fields = (form.text_field, form.id_field) if form.id_field else (form.text_field,)
        for field in fields:
            if not isinstance(row, dict) or field not in row:
                found = ', '.join(map(quoted, row)) if isinstance(row, dict) else type(row).__name__
                advice = '--text_field and --id_field name the fields.'
                raise bad_input(path, f'the fields {found}', f'a field {field!r}', line=number, advice=advice)
        text = row[form.text_field]
        if not isinstance(text, str):
            raise bad_input(path, f'{form.text_field!r} of type {type(text).__name__}', 'a string', line=number)
        paragraphs = [paragraph.strip() for paragraph in text.split('\n') if paragraph.strip()]
        if not paragraphs:
            _count(skipped, 'empty documents')
            continue
        yield Document(str(row[form.id_field]) if form.id_field else f'{path}:{number}', paragraphs)


def lines_of(path):
    """Iterates over (number, text) of the lines of a text or gzip file, without their ends and the byte order mark.

    Raises:
        UserError: as `read_documents` says.
    """
    number = 0
    try:
        with open_data(path, 'a readable file') as raw, gzip.open(raw) if path.lower().endswith('.gz') else raw as f:
            while raw := f.readline(MOST_LINE_BYTES):
                number += 1
                yield number, _decoded(path, number, raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise bad_input(path, f'damaged gzip data after line {number} ({e})', 'a whole gzip file') from None
    except OSError as e:
        raise bad_input(path, f'a file that cannot be read ({e.strerror or e})', 'a readable file') from None
    if not number:
        raise bad_input(path, 'an empty file', 'lines of text')


def _decoded(path, number, raw):
    if len(raw) == MOST_LINE_BYTES and not raw.endswith(b'\n'):
        raise bad_input(path, f'a line of more than {MOST_LINE_BYTES >> 20} MB', 'one paragraph a line', line=number)
    if number == 1:
        raw = raw.removeprefix(BOM_UTF8)
    if b'\0' in raw:
        found = f'a NUL byte at byte {raw.index(0) + 1} of the line (a binary file?)'
        raise bad_input(path, found, 'UTF-8 text', line=number)
    try:
        return raw.decode('utf-8').rstrip('\r\n')
    except UnicodeDecodeError as e:
        found = f'byte 0x{raw[e.start]:02x} at byte {e.start + 1} of the line'
        if _is_gb18030(raw):
            found += ' (it reads as GB18030, that is GBK)'
            advice = f'Run: iconv -f GB18030 -t UTF-8 {path}, with a name for the result.'
        else:
            advice = 'Save it in the encoding UTF-8 if it is text, else leave it out of the input.'
        raise bad_input(path, found, 'UTF-8 text', line=number, advice=advice) from None


def _is_gb18030(raw):
    """Whether a line is Chinese in the usual encoding before UTF-8, by the characters that texts are made of.

    They are those of GB 2312, level 1. Korean in EUC-KR alone would be taken for it.
    """
    try:
        text = raw.decode('gb18030').strip()
    except UnicodeDecodeError:
        return False
    beyond = [char.encode('gb2312', 'ignore') for char in text if char > '\x7f']
    common = sum(b'\xa1\xa1' <= char < b'\xd8' for char in beyond)
    return text.replace('\t', ' ').isprintable() and common > 0.9 * len(beyond)
