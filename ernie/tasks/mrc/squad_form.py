"""Questions to predict in the JSON of SQuAD."""

import os

from ernie.reader.json_records import ACCEPTED, OBJECT, first_look, form_of, json_rows
from ernie.reader.records import open_rows
from ernie.reader.squad_json import read_squad
from ernie.tasks.codec import InputForm
from propeller.errors import UserError


class SquadForm(InputForm):
    """Records for `MrcCodec`: `{"id", "question", "context"}`."""

    def is_form_of(self, path):
        if not path.lower().endswith('.json'):
            return False
        if not os.path.isfile(path):
            return True
        with open_rows(path, 'a file to predict') as file:
            head = first_look(file)
            if form_of(head) != OBJECT:
                return not head.strip()
            try:
                first = next(json_rows(path, head, file, OBJECT, ACCEPTED))[1]
            except UserError:
                return True
            return not isinstance(first, dict) or 'paragraphs' in first or not {'question', 'context'} <= first.keys()

    def records(self, path):
        return [{'id': q.id, 'question': q.question, 'context': q.context} for q in read_squad(path, scored=True)]
