"""Runs the examples of the documentation and renews the outputs that it shows.

    python -m script.documents                    all pages; their files are changed
    python -m script.documents --check            prints what would change, and ends with 1 if anything would
    python -m script.documents docs/encoder.md    one page, and before it those that it needs

Works in a clone of the working tree with an environment of its own (`--folder`, else one that is deleted in the end).
What differs from run to run, such as seconds, is no difference. All pages take about half an hour on two cores.
It needs the packages of the tests (`sh script/venv.sh data dev test-data`), which some of the pages use.
"""

import argparse
import importlib.util
import sys
import tempfile

from script.documents.notebook import regenerate_notebook
from script.documents.page import ROOT, Page, pages
from script.documents.regenerate import difference, regenerate
from script.documents.scratch import Scratch

# Not example/propeller_xnli_demo.ipynb: it shows pictures, and of a notebook only what its cells print is renewed.
NOTEBOOKS = ('docs/tutorial.ipynb',)
_NEEDED = ('nbformat', 'tokenizers', 'paddle2onnx', 'jieba')  # of those packages, which a user need not have


def build_parser():
    """The flags."""
    parser = argparse.ArgumentParser(
        'python -m script.documents', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('pages', nargs='*', help='pages, as paths in the repository; all by default')
    parser.add_argument('--check', action='store_true', help='change nothing; end with 1 if something would change')
    parser.add_argument('--folder', help='where to run; what has run there is not run again for other pages')
    parser.add_argument('--fresh', action='store_true', help='begin without packages, as a user does')
    parser.add_argument('--timeout', type=int, default=3600, help='seconds that one block may take')
    return parser


def order(names, known):
    """The names with those that they need before them, each once."""
    result = []

    def add(name):
        if name not in known:
            sys.exit(f'error: no page {name}; there are: {", ".join(known)}')
        if name not in result:
            for needed in known[name].needs:
                add(needed)
            result.append(name)

    for name in names:
        add(name)
    return result


def main(argv=None):
    """Returns the exit code."""
    args = build_parser().parse_args(argv)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f'error: {", ".join(missing)}: not installed. Run: sh script/venv.sh data dev test-data')
    known = {page.name: page for page in pages()}
    asked = args.pages or [*(name for name in known if not is_translation(name)), *NOTEBOOKS]
    notebooks = [name for name in asked if name in NOTEBOOKS]
    asked = [name for name in asked if name not in NOTEBOOKS]
    with tempfile.TemporaryDirectory(prefix='documents-') as temporary:
        scratch = Scratch(args.folder or temporary, args.fresh)
        if args.folder:
            scratch.update()
        changed = sum(renew(known[name], scratch, args, name in asked) for name in order(asked, known))
        changed += sum(renew_notebook(ROOT / name, scratch, args) for name in notebooks)
    return 1 if changed else 0


def renew(page, scratch, args, asked):
    """Run one page. Returns whether something is wrong, or with --check would change."""
    if page.not_run or not page.outputs() or (not asked and scratch.was_run(page.name)):
        return asked and translate(page, args.check)
    text, faults = regenerate(page, scratch, args.timeout, lambda line: print(line, file=sys.stderr, flush=True))
    for fault in faults:
        print(f'{page.name}:{fault.line}: {fault.text}', flush=True)
    if not faults:
        scratch.set_run(page.name)
    if not asked:
        return bool(faults)
    print(difference(page, text), end='', flush=True)
    if not args.check:
        page.path.write_text(text, encoding='utf-8')
    other = translate(Page(page.path, text), args.check)
    return bool(faults) or other or (args.check and text != page.text)


def translate(page, check):
    """Give the page in other languages the same blocks. Returns whether that would change a file, with `check`."""
    changed = False
    for path in translations(page):
        old = Page(path)
        new = old.with_texts({i: block.text for i, block in enumerate(page.blocks)})
        changed = changed or new != old.text
        if not check:
            path.write_text(new, encoding='utf-8')
    return check and changed


def renew_notebook(path, scratch, args):
    """Run a notebook. Returns whether something is wrong, or with --check would change."""
    import nbformat

    print(path.name, file=sys.stderr, flush=True)
    notebook, changed, faults = regenerate_notebook(path, scratch, args.timeout)
    for fault in faults:
        print(f'{path.name}: {fault.text}', flush=True)
    if changed:
        print(f'{path.name}: other outputs', flush=True)
        if not args.check:
            nbformat.write(notebook, path)
    return bool(faults) or (args.check and changed)


def translations(page):
    """Files of the same page in other languages, which have the same blocks."""
    path = page.path
    chinese = path.with_name('README.zh.md') if path == ROOT / 'README.md' else path.parent / 'zh' / path.name
    return [chinese] if chinese.exists() else []


def is_translation(name):
    """Whether the page has its outputs from another one."""
    return name == 'README.zh.md' or name.startswith('docs/zh/')


if __name__ == '__main__':
    sys.exit(main())
