"""Whether Hugging Face's tokenizer, made from an exported folder, gives the ids that ours gives."""

import importlib.metadata
import importlib.util
import json
import os
import random
import unicodedata

from ernie.tokenizers import TOKENIZER_CONFIG
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS
from propeller.errors import UserError, quoted

TEXTS = 100
SENTENCES = (
    '百度是一家高科技公司，总部在北京。',
    'The room was clean, and breakfast came late twice!',
    '用 Windows XP 打开 http://example.com/a_b?c=1，很快。',
    'Café au lait, naïve RÉSUMÉ: ÅNGSTRÖM, jalapeño; Ünïcödé',
    'cafe\u0301 A\u030angstro\u0308m',
    'İstanbul ẞ ﬁn ſ',
    '😀 好评 👍🏽 love it ❤️',
    'ＡＢＣ１２３，全角！　（空格）',
    'a\tb\r\nc\u00a0d\u3000e\u2003f',
    'x\u0000y\u200bz\ufeff\ufffd\u00ad!',
    '𠀀𪜀 㐀㐁 豈更',
    'ひらがな カタカナ 漢字かな 안녕 하세요',
    'Привет, мир! ΓΕΙΑ ΚΟΣΜΕ שלום مرحبا नमस्ते',
    "don't can't $5.00 50% #tag @user C++ a_b-c/d\\e ^~`|<>",
    'ab' * 50 + ' ' + 'ab' * 50 + 'a',
    '',
    ' ',
)


def sample_texts(vocab, count=TEXTS):
    """Texts for a comparison: fixed sentences of many alphabets, then words and runs of the vocabulary's own tokens.

    Characters whose treatment has changed between versions of Unicode are left out of the latter: the two tokenizers
    need not have the same tables. No text spells a special token: Hugging Face's finds those in a text, ours cuts them.

    Args:
        vocab: dict token -> id.
        count: how many.

    Returns:
        list of str.
    """
    rng = random.Random(0)
    tokens = [token.removeprefix('##') for token in vocab if token not in SPECIAL_TOKENS and _is_old(token)] or ['a']
    texts = list(SENTENCES)
    while len(texts) < count:
        glue = rng.choice(['', ' '])
        texts.append(glue.join(rng.choice(tokens) for _ in range(rng.randint(1, 12))))
    return [text for text in texts if not any(token in text for token in SPECIAL_TOKENS)][:count]


def _is_old(text):
    return all(unicodedata.category(c) == unicodedata.ucd_3_2_0.category(c) for c in text)


def their_tokenizer(folder):
    """Hugging Face's tokenizer of a folder.

    Returns:
        (function text -> ids with [CLS] and [SEP], what it is), or (None, '') where none is installed.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:  # not there, or its own needs are not
        AutoTokenizer = None  # noqa: N806
    if AutoTokenizer:
        made = AutoTokenizer.from_pretrained(folder)
        kind = 'transformers ' + importlib.metadata.version('transformers')
        return lambda text: made(text, truncation=False)['input_ids'], kind
    if importlib.util.find_spec('tokenizers'):
        return _of_library(folder), 'tokenizers ' + importlib.metadata.version('tokenizers')
    return None, ''


def _of_library(folder):
    """The same, of the library under transformers, from the two files that transformers reads."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    with open(os.path.join(folder, TOKENIZER_CONFIG), encoding='utf-8') as f:
        config = json.load(f)
    vocab = models.WordPiece.read_file(os.path.join(folder, 'vocab.txt'))
    made = Tokenizer(models.WordPiece(vocab, unk_token=config['unk_token']))
    made.normalizer = normalizers.BertNormalizer(
        lowercase=config['do_lower_case'],
        strip_accents=config['strip_accents'],
        handle_chinese_chars=config['tokenize_chinese_chars'],
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = config['cls_token'], config['sep_token']
    ends = [(token, vocab[token]) for token in (cls, sep)]
    made.post_processor = processors.TemplateProcessing(f'{cls} $A {sep}', special_tokens=ends)
    return lambda text: made.encode(text).ids


def check_ids(folder, tokenizer, source):
    """Compare the ids of sample texts.

    Args:
        folder: as exported.
        tokenizer: ours.
        source: the model's name, for the message.

    Returns:
        a sentence that says what was compared with what.

    Raises:
        UserError: some text has other ids there.
    """
    theirs, kind = their_tokenizer(folder)
    if theirs is None:
        return 'token ids not compared: neither transformers nor tokenizers is installed'
    texts = sample_texts(tokenizer.vocab)
    cls, sep = tokenizer.vocab['[CLS]'], tokenizer.vocab['[SEP]']
    for text in texts:
        ours, found = [cls, *tokenizer.encode(text), sep], theirs(text)
        if ours != found:
            other = f'{quoted(found)}, ours are {quoted(ours)}'
            raise UserError(f'{source}: {kind} gives other ids for the text {quoted(text)}: {other}.')
    return f'the same token ids for {len(texts)} texts in {kind}'
