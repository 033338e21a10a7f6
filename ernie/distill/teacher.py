"""The teacher of a student: a model folder, opened once, built into the student's program under names of its own."""

import os

from ernie.checkpoint import match_parameters
from ernie.checkpoint.model_folder import LABELS, Model
from ernie.config import ErnieConfig
from ernie.inference.find import find_model
from ernie.model.encoders import build_encoder
from ernie.run.source import Source
from ernie.tasks import table
from propeller import graph
from propeller.errors import bad_input, quoted
from propeller.inputs import content_digest, folder_digest
from propeller.storage.values import load_values
from propeller.types import RunMode

PREFIX = 'teacher/'


class Teacher:
    """A model that a student learns from.

    Args:
        name: a checkpoint, the folder of a training, or a name that `ernie.zoo` knows.

    Attributes:
        source: its `Source`. path: its folder. config: `ErnieConfig`.
        saved: dict, its labels.json; {} for an encoder without a task.
        spec: `TaskSpec` of its task, or None.
        digest: a text that changes with its files.

    Raises:
        UserError: there is no such model, or it cannot be read.
    """

    def __init__(self, name):
        path = find_model(name)
        self.source = Source(path)
        self.path, self.config, self.saved = self.source.path, self.source.config, self.source.saved
        self.digest = folder_digest(path) if os.path.isdir(path) else content_digest(path)
        task = self.saved.get('task')
        if task is not None and task not in table.TASKS:
            raise bad_input(self.path, f'a model of the task {quoted(task)}', f'one of {", ".join(table.TASKS)}')
        self.spec = table.find(task) if task else None

    def require_task(self):
        """Raises `UserError`: it has none, and something that it answers is to be learnt."""
        if self.spec is None:
            raise bad_input(
                self.path,
                f'a model without a task ({LABELS})',
                'a fine-tuned one, for --loss logits and labels',
                advice='From an encoder take --loss relation, hidden or attention.',
            )
        if self.spec.head[0] not in self.source.tensors:
            raise bad_input(self.path, f'no {self.spec.head[0]}', f'the head of the task {self.spec.name}')
        missing = [name for name in self.spec.load('graph').settings if name not in self.saved]
        if missing:
            raise bad_input(os.path.join(self.path, LABELS), f'no {missing[0]}', 'what our trainings write')

    def build(self, model_class, features):
        """The whole teacher in the program being built: an object of `model_class`, a `FineTuneModel`.

        features: of the student, see `ernie.model.task_model`.
        """
        with graph.borrowed_parameters(PREFIX):
            model = model_class(model_class.prediction_params(self.config, self.saved), RunMode.PREDICT)
            model.forward(self._features(features))
        return model

    def build_encoder(self, features, layers):
        """The `Encoder` alone, of its lowest layers. layers: at least 1."""
        config = ErnieConfig({**self.config.to_dict(), 'num_hidden_layers': layers})
        with graph.borrowed_parameters(PREFIX):
            return build_encoder(self._features(features), config)

    def projections(self, encoder, layer):
        """`Encoder.get_projections` of its encoder."""
        with graph.borrowed_parameters(PREFIX):
            return encoder.get_projections(layer)

    def _features(self, features):
        """The student may have no task embedding."""
        ids, *others = features[:4]
        task = [ids * 0 + self.saved.get('task_id', 0)] if self.config.use_task_id else []
        return [ids, *others, *task]

    def load(self, session, program):
        """Give its parameters in an initialised program their values. Raises `UserError`: one is missing or wrong."""
        expected = {name.removeprefix(PREFIX): tuple(value.shape) for name, value in program.borrowed_values.items()}
        match = match_parameters(expected, self.source.tensors, allow_unused=['*'])
        load_values(session, program.borrowed_values, renamed(self.source.tensors, {PREFIX + n: n for n in match.load}))


def renamed(tensors, names):
    """A `Model` of some tensors of another one. names: dict new name -> name there."""
    model = Model(tensors.path, tensors, {new: (old, False) for new, old in names.items()}, tensors.source, [])
    for name in ('config', 'folder', 'vocab_path', 'labels_path'):
        setattr(model, name, getattr(tensors, name))
    return model
