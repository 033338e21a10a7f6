"""A page of documentation, taken apart: its fenced blocks, what each of them is, and the text between them.

Comments on a line of their own, right before a block, say what a block is:

    <!-- file: NAME -->             the block is written to NAME and not run
    <!-- not run: REASON -->        a command that is shown only; the output behind it stays as it is
    <!-- terminal -->               a command whose output differs on a terminal is run on one
    <!-- not output -->             a text that no command of the page prints
    <!-- some lines -->             the output is shortened: each of its lines is one of the program's
    <!-- content of: NAME -->       the block is the content of a file that the command made
    <!-- some lines of: NAME -->    it is some of its lines

A comment in the head of a page says what must have run before: `<!-- runs after: README.md -->`; or that none of its
commands runs here: `<!-- not run: REASON -->` before the first heading.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ('sh', 'python')
FILES = ('content of', 'some lines of')

FENCE = re.compile(r'(?:^ *<!-- ([^\n]*) -->\n)?^( *)```(\w*)\n(.*?)^ *```$', re.S | re.M)
HEAD = re.compile(r'^<!-- (runs after|not run): (.*?) -->$', re.M)
HEREDOC = re.compile(r"cat > (\S+) <<'END'\n(.*?)^END$", re.S | re.M)
_ASSIGNMENT = re.compile(r'[A-Z_]+=')
_SUBSTITUTION = re.compile(r'^[A-Z_]+=\$\(.*\)$', re.M)  # a whole line that only sets a variable


class Block(NamedTuple):
    """A fenced block. `start` and `end` are the places of its text in the page."""

    language: str
    text: str
    mark: str  # of the comment before it, up to the colon; '' without one
    value: str  # behind the colon
    start: int
    end: int
    indent: str


class Page:
    """A Markdown page.

    Args:
        path: of the file.
        text: its content, where it is not that of the file.
    """

    def __init__(self, path, text=None):
        self.path = Path(path)
        self.text = self.path.read_text(encoding='utf-8') if text is None else text
        self.blocks = [self._block(found) for found in FENCE.finditer(self.text)]
        head = dict(HEAD.findall(re.split(r'^# ', self.text, maxsplit=1, flags=re.M)[0]))
        self.needs = head.get('runs after', '').replace(',', ' ').split()
        self.not_run = head.get('not run')

    @property
    def name(self):
        """Its path in the repository."""
        return self.path.resolve().relative_to(ROOT).as_posix()

    @property
    def prose(self):
        """The text without blocks."""
        return FENCE.sub('', self.text)

    def texts(self, language):
        """Texts of the blocks of one language."""
        return [block.text for block in self.blocks if block.language == language]

    def outputs(self):
        """Pairs of the number of a block that is run and the number of the block with its output, None without one."""
        pairs, runs = [], None
        for i, block in enumerate(self.blocks):
            if block.language in COMMANDS:
                runs = None if block.mark in ('file', 'not run') else i
                if runs is not None:
                    pairs.append((i, None))
            elif runs is not None and block.mark != 'not output' and (block.language == 'text' or block.mark in FILES):
                number, output = pairs[-1]
                pairs[-1:] = [(number, i)] if output is None else [pairs[-1], (number, i)]
        return pairs

    def with_texts(self, texts):
        """The page's text with those of some blocks replaced: dict number of a block -> its new text."""
        parts, place = [], 0
        for i in sorted(texts):
            block = self.blocks[i]
            lines = texts[i].splitlines()
            parts += [self.text[place : block.start], *(f'{block.indent}{line}'.rstrip() + '\n' for line in lines)]
            place = block.end
        return ''.join([*parts, self.text[place:]])

    @staticmethod
    def _block(found):
        comment, indent, language, text = found.groups()
        mark, _, value = (comment or '').partition(': ')
        text = re.sub(f'^{indent}', '', text, flags=re.M) if indent else text
        return Block(language, text, mark, value, found.start(4), found.end(4), indent)


def pages():
    """The pages of this repository, in the order in which they are run."""
    paths = [
        ROOT / 'README.md',
        ROOT / 'README.zh.md',
        *sorted((ROOT / 'docs').rglob('*.md')),
        ROOT / 'benchmark/README.md',
    ]
    return [Page(path) for path in paths]


def commands(text):
    """Each command of a shell block as a list of words, without comments, assignments before it and here-documents."""
    text = _SUBSTITUTION.sub('', HEREDOC.sub(r'cat > \1', text)).replace('\\\n', ' ')
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    lines = [line for line in lines if line]
    for words in lines:
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
    return [words for words in lines if words]
