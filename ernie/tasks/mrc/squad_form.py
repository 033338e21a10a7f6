"""Questions to predict in the JSON of SQuAD."""

from ernie.reader.questions import is_squad
from ernie.reader.squad_json import read_squad
from ernie.tasks.codec import InputForm


class SquadForm(InputForm):
    """Records for `MrcCodec`: `{"id", "question", "context"}`."""

    def is_form_of(self, path):
        if not path.lower().endswith('.json'):
            return False
        return is_squad(path)

    def records(self, path):
        return [{'id': q.id, 'question': q.question, 'context': q.context} for q in read_squad(path, scored=True)]
