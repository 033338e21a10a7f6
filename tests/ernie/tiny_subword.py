"""A small subword tokenizer of ERNIE tiny, made of a few sentences, and the plain form of what it does."""

import io
import pickle

import pytest

from benchmark.subword_length import plain_parts
from ernie.tokenizers.subword_files import MODEL, PICKLED, PLAIN

SENTENCES = """
房间很干净，服务员的态度也非常好，下次还会住这里。
今天天气很热，我们去北京大学看书。
笔记本电脑的键盘手感不错，屏幕也很亮，就是风扇声音大。
This hotel is close to the station and the staff is friendly.
早餐的种类太少 WiFi 也很慢，不推荐。
中华人民共和国的首都是北京，北京大学在海淀区。
""".strip().split('\n')
SHORT_WORDS = '房间 干净 服务 服务员 态度 非常 天气 今天 北京 大学 中华 人民 WiFi is the 的 。'
WORDS = {*SHORT_WORDS.split(), '北京大学', '笔记本', '笔记本电脑', '中华人民共和国'}


def train(sentences=SENTENCES, **options):
    """A sentencepiece model as bytes."""
    sentencepiece = pytest.importorskip('sentencepiece')
    model = io.BytesIO()
    options = {'vocab_size': 150, 'character_coverage': 1.0, 'hard_vocab_limit': False, 'minloglevel': 2} | options
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences * 20), model_writer=model, **options)
    return model.getvalue()


def plain_pieces(text, words, model, lower=True):
    """The reference form: parts, lower case, spaces, sentencepiece. model: `SentencePieceProcessor`."""
    parts = plain_parts(text, words)
    return model.encode(' '.join(part.lower() if lower else part for part in parts), out_type=str)


def subword_folder(folder, plain=False, model=None, words=WORDS):
    """Writes `subword/` and a `vocab.txt` of its pieces into a folder; returns the tokens."""
    import sentencepiece

    content = train() if model is None else model
    (folder / 'subword').mkdir(parents=True, exist_ok=True)
    (folder / 'subword' / MODEL).write_bytes(content)
    if plain:
        (folder / 'subword' / PLAIN).write_text(''.join(f'{word}\n' for word in sorted(words)), encoding='utf-8')
    else:
        (folder / 'subword' / PICKLED).write_bytes(pickle.dumps(words))
    processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    pieces = [processor.id_to_piece(i) for i in range(3, len(processor))]
    characters = sorted({f'\u2581{char}' for piece in pieces for char in piece} - set(pieces) - {'\u2581\u2581'})
    tokens = ['[PAD]', '[CLS]', '[SEP]', '[MASK]', *pieces, *characters, '[UNK]']
    (folder / 'vocab.txt').write_text(''.join(f'{token}\n' for token in tokens), encoding='utf-8')
    return tokens
