"""A sentencepiece model and the vocabulary of ERNIE tiny, made of counted parts of words."""

import io
import os
import tempfile
import unicodedata
from collections import Counter

from ernie.pretrain.vocabulary import FIRST_TOKENS, LAST_TOKENS
from ernie.pretrain.word_counts import BoundedCounter
from ernie.tokenizers.subword import WORD_START
from propeller.errors import UserError
from propeller.optional import optional_package


def train_subword_model(parts, size, coverage=0.9995):
    """A unigram model of sentencepiece, with its usual normalization (NFKC).

    Args:
        parts: mapping part of a text, lower-cased if texts are, -> count.
        size: pieces, at most.
        coverage: share of the text that the characters with a piece of their own make up.

    Returns:
        the model as bytes; the same for the same arguments.

    Raises:
        UserError: sentencepiece is not installed, or cannot make pieces of these parts.
    """
    sentencepiece = optional_package('sentencepiece', 'build-subword')
    parts = {part: count for part, count in parts.items() if WORD_START not in part}
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path, seeds = os.path.join(folder, 'parts.tsv'), os.path.join(folder, 'seeds.tsv')
        for file, counts in ((path, parts), (seeds, _seeds(parts))):
            with open(file, 'w', encoding='utf-8', newline='\n') as f:
                f.writelines(f'{text}\t{count}\n' for text, count in sorted(counts.items()) if _fits(text))
        try:
            sentencepiece.SentencePieceTrainer.train(
                input=path,
                input_format='tsv',
                seed_sentencepieces_file=seeds,
                model_writer=model,
                model_type='unigram',
                vocab_size=size,
                hard_vocab_limit=False,
                character_coverage=coverage,
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as e:
            raise UserError(f'sentencepiece cannot make {size} pieces of this corpus: {e}') from None
    return model.getvalue()


def _seeds(parts):
    """What may become a piece, with counts. The trainer's own seeds are what occurs in two different words, so that
    few words would be whole.
    """
    seeds = BoundedCounter()
    for part, count in parts.items():
        marked = WORD_START + unicodedata.normalize('NFKC', part)
        found = Counter()
        for start in range(len(marked)):
            for end in range(start + 2, len(marked) + 1):
                found[marked[start:end]] += count
        seeds.update(found)
    return {piece: count for piece, count in seeds.counts.items() if count > 1}


def _fits(part):
    """Whether a part can stand on a line: sentencepiece reads a line up to the first TAB, and drops odd characters."""
    return bool(part.strip()) and part.isprintable() and WORD_START not in part[1:]


def subword_vocabulary(cutter):
    """The tokens of `vocab.txt`; the id of a token is its index. After the special tokens the pieces of the model, then
    each character that begins no word among them, as a word of its own: tagging looks characters up in that form.

    Args:
        cutter: `ernie.tokenizers.subword.SubwordCutter`.
    """
    pieces = cutter.pieces
    known, characters = set(pieces), sorted({char for piece in pieces for char in piece} - {WORD_START})
    alone = [WORD_START + char for char in characters if WORD_START + char not in known]
    return [*FIRST_TOKENS, *pieces, *alone, *LAST_TOKENS]
