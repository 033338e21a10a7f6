"""Characters a second from text to ids on one core: C++ (`inference/`), Python's tokenizer, Hugging Face's tokenizers.

    python -m benchmark.cpp_tokenizer_rate [--vocab VOCAB] [--data FILE.tsv]

All three are given the same texts one by one, and must give the same ids. Processor time counts, the median of several
passes; Python's tokenizer has seen the texts before, and remembers their words.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tokenizers

from benchmark.cpp import build, load_library, twin_of
from benchmark.tokenizer_rate import parse_flags, seconds
from ernie.reader.records import read_records
from ernie.tokenization import FullTokenizer
from propeller.errors import one_line_errors


def huggingface_of(vocab):
    """Hugging Face's tokenizer of the same rules, in one thread."""
    os.environ['TOKENIZERS_PARALLELISM'] = 'false'
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token='[UNK]', max_input_chars_per_word=100))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return made


def main(argv=None):
    flags = parse_flags(argv)
    texts = [cells[name] for _, cells in read_records(flags.data) for name in ('text_a', 'text_b') if name in cells]
    characters, tokenizer = sum(map(len, texts)), FullTokenizer(flags.vocab)
    theirs, folder = huggingface_of(tokenizer.vocab), build(target='tokenizer_rate')
    build(target='ernie')
    ours = [tokenizer.encode(text) for text in texts]
    with twin_of(load_library(folder), tokenizer) as twin:
        assert [twin.encode_aligned(text).ids for text in texts] == ours
    differ = sum(
        theirs.encode(text, add_special_tokens=False).ids != ids for text, ids in zip(texts, ours, strict=True)
    )
    print(f'{len(texts)} texts, {characters} characters; of C++ the ids of 0 texts differ, of tokenizers of {differ}')
    with tempfile.TemporaryDirectory() as place:
        for name, content in tokenizer.files(512).items():
            (Path(place) / name).write_bytes(content)
        lines = Path(place) / 'texts'
        lines.write_text(''.join(text.replace('\n', ' ') + '\n' for text in texts), encoding='utf-8')
        done = subprocess.run([folder / 'tokenizer_rate', place, lines], capture_output=True, text=True, check=True)
        print('C++:', done.stdout.strip())
    rivals = {
        'Python': lambda: [tokenizer.encode(text) for text in texts],
        f'tokenizers {tokenizers.__version__}': lambda: [theirs.encode(t, add_special_tokens=False) for t in texts],
    }
    for name, run in rivals.items():
        taken = [seconds(run, time.process_time) for _ in range(flags.repeat)]
        print(f'{name}: {characters / statistics.median(taken):.0f} characters/s')


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
