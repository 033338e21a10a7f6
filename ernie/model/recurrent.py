"""What encoders that read words one after the other share. B batch, T words, W width."""

from propeller.graph import paddle

_NO_WORD = -1e4  # below all that an LSTM gives


class Turn:
    """Turns the words of each text around; padding stays at the end.

    Args:
        mask: float32 [B, T], 1 for words, then 0.
    """

    def __init__(self, mask):
        place = paddle.cumsum(mask * 0 + 1, axis=1) - 1
        last = mask.sum(-1, keepdim=True) - 1
        # Engines of ONNX models read no lengths: the words are turned around by their places.
        turned = paddle.where(mask > 0, last - place, place).astype('int64')
        row = paddle.cumsum(turned * 0 + 1, axis=0) - 1
        self._places = (row * paddle.shape(mask)[1].astype('int64') + turned).reshape([-1])

    def __call__(self, x):
        """[B, T, W] -> [B, T, W]"""
        width = x.shape[-1]
        return paddle.gather(x.reshape([-1, width]), self._places).reshape([paddle.shape(x)[0], -1, width])


def largest_of_words(x, mask):
    """[B, T, W] -> the largest of each number over the words, [B, W]. mask: as `Turn`."""
    words = x + (1 - mask).unsqueeze(-1) * _NO_WORD
    # Not `max`: its gradient takes 300 times as long (seconds for a batch of 100 texts, one thread).
    place = words.argmax(1, keepdim=True)
    return paddle.take_along_axis(words, place, axis=1, broadcast=False).squeeze(1)
