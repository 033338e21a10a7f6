"""One vector per text from the vectors of its tokens: NumPy in, NumPy out.

Shapes: B batch, T length, H hidden, L layers.
"""

import numpy as np

from propeller.errors import UsageError

POOLINGS = ('cls', 'pooled', 'mean', 'max')  # 'pooled' is the model's own, all others are made here


def layer_number(layer, num_layers):
    """The layer that is meant, 0 .. L: 0 are the embeddings, -1 and None the last layer, -2 the one before.

    Raises:
        UsageError: there is no such layer.
    """
    if layer is None:
        return num_layers
    if not -num_layers <= layer <= num_layers:
        raise UsageError(
            f'--layer {layer}: expected 0 (embeddings), 1 to {num_layers}, or -{num_layers} to -1 from the end.'
        )
    return layer + num_layers + 1 if layer < 0 else layer


def pool(tokens, mask, pooling):
    """One vector per text from those of its tokens, [CLS] and [SEP] included.

    Args:
        tokens: float32 [B, T, H].
        mask: [B, T], 1 for tokens and 0 for padding; every text has a token.
        pooling: 'cls' (the first token), 'mean' or 'max' (of each component).

    Returns:
        float32 [B, H].
    """
    if pooling == 'cls':
        return tokens[:, 0]
    if pooling == 'mean':
        return np.einsum('bth,bt->bh', tokens, mask / mask.sum(1, keepdims=True), dtype=tokens.dtype)
    return np.where(mask[:, :, None] > 0, tokens, -np.inf).max(1).astype(tokens.dtype)


def unit_length(vectors):
    """[B, H] -> the same directions with Euclidean length 1; a vector of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
