"""What a model is to a server."""

import abc


class ServedModel(abc.ABC):
    """A model that a server knows by a name: how it is opened in a worker, and how rows become batches in the front.

    A row is what `pack` understands, of one input of the model; the core hands it through without a look.

    Attributes:
        name: of the model, in requests.
        opener: 'module:function', called in each worker as `function(**arguments)`. It returns a function of a list of
            arrays (those that `pack` makes) that returns the list of the model's outputs, arrays. An attribute
            `description` of that function, where it has one, is a dict for JSON that `opened` is given.
        arguments: dict for JSON.
        padding_cost: of a token of padding, in times of another token; known when a worker has opened the model.
    """

    padding_cost = 1.0
    name: str
    opener: str
    arguments: dict

    def limited(self, limits):  # noqa: B027 (most models prepare nothing for the size of a batch)
        """A server takes the model, before its workers start. limits: `Limits`, how large its batches can be."""

    def opened(self, description):  # noqa: B027 (most models need no word of the worker)
        """A worker has opened the model. description: what it says of it, {} where nothing."""

    @abc.abstractmethod
    def tokens(self, row):
        """What the row costs: its length in tokens, at least 1."""

    def padded(self, tokens):
        """How long a batch is whose longest row has so many tokens, int."""
        return tokens

    def kind(self, row):
        """Only rows of the same kind are put into one batch."""
        return ''

    @abc.abstractmethod
    def pack(self, rows):
        """The arrays of a batch, list; padded here. rows: list of rows."""

    @abc.abstractmethod
    def unpack(self, outputs, rows):
        """The results of the rows, list, of the outputs of the model for `pack(rows)`.

        Raises:
            ServiceError: the outputs are not what they should be.
        """
