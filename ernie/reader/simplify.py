"""Traditional Chinese characters to simplified ones, character for character, so that offsets stay what they are."""

from propeller.errors import UserError


class Simplifier:
    """Callable: a text -> the same text in simplified characters, of the same length.

    The conversion is that of OpenCC's `t2s`. Where it changes the length of a text, the text is converted character by
    character, and a character without a counterpart of length 1 stays.

    Raises:
        UserError: the package opencc is not installed.
    """

    def __init__(self):
        self._convert = None
        self._converter()

    def __call__(self, text):
        convert = self._converter()
        converted = convert(text)
        if len(converted) == len(text):
            return converted
        single = (convert(char) for char in text)
        return ''.join(new if len(new) == 1 else old for old, new in zip(text, single, strict=True))

    def _converter(self):
        if self._convert is None:
            try:
                import opencc
            except ImportError as e:
                raise UserError(
                    '--to_simplified true needs the package opencc, which is not installed. Run: pip install opencc'
                ) from e
            self._convert = opencc.OpenCC('t2s').convert
        return self._convert

    def __reduce__(self):
        return type(self), ()
