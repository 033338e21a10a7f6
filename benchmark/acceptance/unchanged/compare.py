"""What differs between the folders that two runs left, but for clocks and other things that are new each time."""

import contextlib
import difflib
import gzip
import itertools
import os
import re

from propeller.errors import bad_input, quoted

CODE, OUT, LOG = 'exit_code', 'stdout', 'stderr'
NUMBER = r'-?\d+(?:\.\d+)?(?:e[-+]?\d+)?'
MASKS = [
    (r'^\[(\w+)\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ \[[^\]]*\]:', r'[\1] <time> <place>:'),
    (rf'"(time|\w+_per_second|seconds|elapsed|elapsed_time|created|pid)": {NUMBER}', r'"\1": <time>'),
    (r'("run": "|"job": "|\brun: )[0-9a-f]{16}\b', r'\1<run>'),
    (r'"(boot|started|host)": "[^"]*"', r'"\1": <machine>'),
    (r'^ +\d{19}(,?)$', r'<nanoseconds>\1'),
    (rf'(speed|elapsed time|steps/sec|train_duration_card\d+|qps|total_time)([:=\s]\s*){NUMBER}', r'\1\2<time>'),
    (r'time left: (about )?[\d:]+', 'time left: <time>'),
    (rf'{NUMBER}( (?:steps/s|steps/sec|tokens/s|MB/s|s\b))', r'<time>\1'),
    (r'\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?', '<time>'),
    (r'127\.0\.0\.1:\d+', '127.0.0.1:<port>'),
    (r'\b(pid|process) \d{3,}', r'\1 <pid>'),
    (r'/tmp/[\w./-]+', '<temporary>'),
]
# Of the machine, not of the run: the first one compiles.
PASSING = re.compile(r'compil\w+ the fused operators|library\.so')
_STAMP = re.compile(rb'\x18[\x80-\xff]{5}[\x00-\x7f]')  # field 3, milliseconds: six bytes until the year 2109
CLOCKED = re.compile(rb'speed|per_second|global_step|seconds|elapsed|brain.Event')  # names of event records


class Allowed:
    """What a change alters on purpose, from a file of lines: `OLD => NEW` is a substitution in what was before,
    `line REGEX` leaves lines out on both sides, `file REGEX` leaves files out. OLD and REGEX are regular expressions.
    """

    def __init__(self, text='', path='-'):
        self.changes, self.lines, self.files = [], [], []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith('#'):
                continue
            old, arrow, new = line.partition(' => ')
            kind, _, pattern = line.partition(' ')
            if arrow:
                self.changes.append((re.compile(old), new))
            elif kind in ('line', 'file'):
                (self.lines if kind == 'line' else self.files).append(re.compile(pattern))
            else:
                raise bad_input(path, quoted(line), '`OLD => NEW`, `line REGEX` or `file REGEX`', number)

    @classmethod
    def read(cls, path):
        """Raises: UserError: a line is none of these."""
        with open(path, encoding='utf-8') as f:
            return cls(f.read(), path)

    def renamed(self, text):
        """Text of before as it would be after."""
        for old, new in self.changes:
            text = old.sub(new, text)
        return text

    def keeps_line(self, line):
        return not any(pattern.search(line) for pattern in self.lines)

    def keeps_file(self, path):
        return not any(pattern.search(path) for pattern in self.files)


def masked(text, places=()):
    """Text without what is different each time. places: pairs (path, word for it)."""
    for path, word in places:
        text = text.replace(path, word)
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


def events(content):
    """TensorBoard's records without clocks. Each: length 8 bytes, checksum 4, data (tag, 8 bytes of time ...), 4."""
    found = []
    while content:
        size = int.from_bytes(content[:8], 'little')
        record, content = content[12 + 9 : 12 + size], content[16 + size :]
        if not CLOCKED.search(record):
            found.append(record)
    return b'\n'.join(found)


def records(content):
    """VisualDL's records without clocks. Each: length 8 bytes, a message (tags, step, name, time, value)."""
    found = []
    while content:
        size = int.from_bytes(content[:8], 'little')
        record, content = content[8 : 8 + size], content[8 + size :]
        if not CLOCKED.search(record):
            found.append(_STAMP.sub(b'', record))
    return b'\n'.join(found)


def lines_of(paths, places=()):
    """What is compared of a file, or of the event files of a folder: lines of masked text, or bytes."""
    contents = []
    for path in sorted(paths):
        with open(path, 'rb') as f:
            contents.append(f.read())
    content = contents[0]
    if 'tfevents' in os.path.basename(paths[0]):
        return b'\n'.join(map(events, contents))
    if 'vdlrecords' in os.path.basename(paths[0]):
        return b'\n'.join(map(records, contents))
    if content[:2] == b'\x1f\x8b':
        content = gzip.decompress(content)
    if b'\0' not in content:
        with contextlib.suppress(UnicodeDecodeError):
            return [line for line in masked(content.decode(), places).splitlines() if not PASSING.search(line)]
    return content


def files_of(folder):
    """dict name to compare by -> list of paths, of all files under `folder`. Names of event files tell the time."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            shown = re.sub(r'(tfevents|vdlrecords)\..*', r'\1', os.path.relpath(path, folder))
            if not shown.endswith('.lock') and '.cache' not in shown:
                found.setdefault(shown, []).append(path)
    return found


def differences(before, after, allowed, places=((), ())):
    """Yields a line of text for each file of two folders that differs."""
    old = {allowed.renamed(name): paths for name, paths in files_of(before).items()}
    new = files_of(after)
    for name in sorted(filter(allowed.keeps_file, old.keys() | new.keys()), key=lambda n: (n not in (CODE, LOG), n)):
        if name not in old or name not in new:
            yield f'{name}: only {"before" if name in old else "after"}'
            continue
        left, right = lines_of(old[name], places[0]), lines_of(new[name], places[1])
        if isinstance(left, bytes) or isinstance(right, bytes):
            if left != right:
                yield f'{name}: {len(left)} and {len(right)} bytes, not equal'
            continue
        left = list(filter(allowed.keeps_line, map(allowed.renamed, left)))
        right = list(filter(allowed.keeps_line, right))
        if left != right:
            yield '\n    '.join([f'{name}:', *shown_difference(left, right)])


def shown_difference(left, right, most=8):
    """The first lines that differ, at most so many, each cut."""
    changed = (line for line in difflib.unified_diff(left, right, lineterm='', n=0) if line[:3] not in ('---', '+++'))
    return [line[:400] for line in itertools.islice((line for line in changed if line[:2] != '@@'), most)]


def compare(before, after, allowed, places=((), ()), both=False, most=3):
    """Print what became of each run.

    Args:
        before, after: folders that hold a folder for each run.
        allowed: `Allowed`.
        places: of each side, pairs (path, word) to mask.
        both: pass over runs that are on one side only.
        most: files shown of a run.
    Returns:
        list of the names of runs that differ.
    """
    names = [{n for n in os.listdir(folder) if os.path.isdir(os.path.join(folder, n))} for folder in (before, after)]
    different = []
    for name in sorted((names[0] | names[1]) - {'.cache'}):
        if both and name not in names[0] & names[1]:
            continue
        if name not in names[0] or name not in names[1]:
            found = [f'only {"before" if name in names[0] else "after"}']
        else:
            folders = [os.path.join(folder, name) for folder in (before, after)]
            found = list(differences(*folders, allowed, places))
        if found:
            different.append(name)
            print(f'{name}: DIFFERENT, {len(found)} files')
            for text in found[:most]:
                print(f'  {text}')
        else:
            print(f'{name}: equal')
    return different
