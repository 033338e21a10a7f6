"""Pictures of the web page of a running server, for the documents.

    python -m script.page_pictures http://127.0.0.1:8080      docs/pictures/page.png and page_small.png

Each model answers the first example that the page has for it: the first model on a large screen, all others on small
ones, in light and dark in turn. A font for Chinese comes from the package noto-cjk-sans-otc where the system has none.
"""

import argparse
import contextlib
import importlib.util
import io
import tempfile
from pathlib import Path

from PIL import Image

from ernie.report.fonts import Lettering
from script.chromium import browser

ROOT = Path(__file__).parents[1]
WIDE, NARROW, GAP = 1200, 400, 24
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><include ignore_missing="yes">/etc/fonts/fonts.conf</include><dir>{fonts}</dir><cachedir>{cache}</cachedir>
</fontconfig>"""


def build_parser():
    """The flags."""
    parser = argparse.ArgumentParser(
        'python -m script.page_pictures', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('address', help='of the server')
    parser.add_argument('--folder', type=Path, default=ROOT / 'docs' / 'pictures', help='for the pictures')
    return parser


def main():
    """Makes the pictures."""
    args = build_parser().parse_args()
    Lettering(['模型']).tell()  # else there would be boxes in the pictures, and nobody told
    with opened_page() as tab:
        tab.open(args.address)
        tab.wait('!document.getElementById("form").hidden')
        models = tab.run('[...document.getElementById("model").options].map(option => option.value)')
        wide, *narrow = models
        save(picture(tab, args.address, wide, WIDE, False), args.folder / 'page.png')
        if narrow:
            shown = [picture(tab, args.address, name, NARROW, n % 2 == 1) for n, name in enumerate(narrow)]
            save(beside(shown), args.folder / 'page_small.png')


@contextlib.contextmanager
def opened_page():
    """A tab of a new browser."""
    with tempfile.TemporaryDirectory() as folder:
        environment, spec = {}, importlib.util.find_spec('noto_cjk_sans_otc')
        if spec:
            file = Path(folder) / 'fonts.conf'
            file.write_text(_FONTS.format(fonts=Path(spec.origin).parent, cache=folder))
            environment['FONTCONFIG_FILE'] = str(file)
        with browser(Path(folder) / 'profile', environment) as new_tab:
            yield new_tab()


def picture(tab, address, model, width, dark):
    """The page with the answer of a model to its first example."""
    tab.open(f'{address}/?model={model}', width, 600, dark, reduced=True)
    tab.wait('!document.getElementById("form").hidden')
    for _ in range(2):  # the times of the second
        tab.run('document.querySelector(".example").click()')
        tab.wait('!document.getElementById("result").hidden')
    tab.run('scrollTo(0, 0)')
    return Image.open(io.BytesIO(tab.screenshot())).convert('RGB')


def beside(pictures):
    """Pictures in a row."""
    sheet = Image.new('RGB', (sum(p.width + GAP for p in pictures) - GAP, max(p.height for p in pictures)), '#8b95a1')
    left = 0
    for one in pictures:
        sheet.paste(one, (left, 0))
        left += one.width + GAP
    return sheet


def save(picture, path):
    """With 128 colours: a third of the size, and no difference to be seen."""
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f'{path}: {path.stat().st_size:,} bytes')


if __name__ == '__main__':
    main()
