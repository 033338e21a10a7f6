"""Every file that a command of the documentation reads is in the repository, or made by a command before it."""

import re

import pytest

from script.documents.__main__ import order
from script.documents.page import HEREDOC, ROOT, commands, pages

KNOWN = {page.name: page for page in pages()}
RUN = [page for page in KNOWN.values() if not page.not_run and page.outputs() and 'zh' not in page.name]
READ = re.compile(
    r'--(?:\w+_set|init_\w+|predict_set|label_map_config|\w*filelist|vocab_path|ernie_config_path|config|input|schedule|model)$'
)
WRITTEN = re.compile(r'--(?:output|output_dir|checkpoints|save_inference_model_path|test_save|split_log_path|folder)$')
# Verbs and programs whose first argument without a flag is read, and those that make their last one.
FIRST = {'finetune', 'finetune classify', 'finetune tag', 'finetune read', 'predict', 'inspect', 'convert', 'compare'}
CODE_READ = re.compile(
    r"(?:\w+_set|label_map_config|init_\w+|config|model)='([^']+)'|(?:load|open)\(f?'([^']+)'(?!, 'w')"
)
CODE_WRITTEN = re.compile(r"checkpoints=f?'([^']+)'|open\(f?'([^']+)', 'w'|write_text|to_\w+\('([^']+)'")


def made_by(page):
    """Paths that the commands of a page make; `*` stands for any text."""
    made = {block.value for block in page.blocks if block.mark == 'file'}
    for block in page.blocks:
        if block.language == 'python':
            made |= {re.sub(r'{.*?}', '*', a or b or c) for a, b, c in CODE_WRITTEN.findall(block.text)}
        elif block.language == 'sh':
            made |= {path for path, _ in HEREDOC.findall(block.text)}
            made |= set(re.findall(r'(?<!<)> ?(\S+)$', block.text, re.M))
            for words in commands(block.text):
                made |= set(outputs_of(words))
    return made


def outputs_of(words):
    """Paths that a command makes."""
    yield from (value for flag, value in zip(words, words[1:], strict=False) if WRITTEN.match(flag))
    if words[0] == 'mkdir':
        yield from words[1:]
    elif 'script/quickstart.sh' in words or words[:2] == ['ernie', 'quickstart']:
        yield 'quickstart'
    elif 'convert' in words:
        yield words[words.index('convert') + 2]
    elif 'infer_classifyer.py' in words:
        yield 'inference_model'
    elif words[:2] == ['ernie', 'finetune']:
        yield from (f'runs/{stem}' for stem in re.findall(r'(?:\S*/)?([^\s/]+)\.\w+', ' '.join(words[2:4])))


def inputs_of(words):
    """Paths that a command reads."""
    for flag, value in zip(words, words[1:], strict=False):
        if READ.match(flag):
            yield from (part for part in value.split(',') if part != '-')
    verb = next((n for n in (3, 2) if words[0] == 'ernie' and ' '.join(words[1:n]) in FIRST), None)
    if verb and len(words) > verb and not words[verb].startswith('-'):
        yield words[verb]


def missing(page):
    """What the commands of a page that are run read and nothing makes."""
    made, lost = set(), []
    for name in order([page.name], KNOWN):
        made |= made_by(KNOWN[name])
    for number in dict.fromkeys(number for number, _ in page.outputs()):
        block = page.blocks[number]
        if block.language == 'python':
            read = [a or b for a, b in CODE_READ.findall(block.text)]
        else:
            read = [path for words in commands(block.text) for path in inputs_of(words)]
        lost += [path for path in read if not is_there(path, made)]
    return lost


def is_there(path, made):
    """Whether a path is in the repository, made, within something that is made, or the name of a model."""
    if '$' in path or '{' in path or (ROOT / path).exists() or re.fullmatch(r'[\w.-]+', path) and '.' not in path:
        return True
    parts = path.rstrip('/').split('/')
    return any('/'.join(parts[:n]) in made for n in range(1, len(parts) + 1)) or any(
        re.fullmatch(re.escape(pattern).replace(r'\*', '.+'), path) for pattern in made if '*' in pattern
    )


@pytest.mark.parametrize('page', RUN, ids=lambda page: page.name)
def test_what_commands_read_is_there(page):
    assert missing(page) == []


def test_a_file_that_nothing_makes_is_found():
    from script.documents.page import Page

    text = '# x\n```sh\nernie finetune no.csv --dev_set also.csv\npython train.py --vocab_path config/vocab.txt\n```\n'
    page = Page(ROOT / 'docs/no_such_page.md', text)
    KNOWN[page.name] = page
    try:
        assert missing(page) == ['also.csv', 'no.csv', 'config/vocab.txt']
    finally:
        del KNOWN[page.name]
