"""Machine reading comprehension: answers that are parts of a text."""

from ernie.tasks.spec import TaskSpec

SPEC = TaskSpec(
    name='mrc',
    verb='read',
    about='answers to questions in a text (run_mrc.py)',
    program='run_mrc.py',
    graph='ernie.tasks.mrc.graph:ErnieMrc',
    training='ernie.tasks.mrc.training:MrcTask',
    codec='ernie.tasks.mrc.codec:MrcCodec',
    survey='ernie.survey.reading:survey_questions',
    head=('cls_mrc_out_w', 'cls_mrc_out_b'),
    huggingface=('ForQuestionAnswering', 'qa_outputs'),
    columns=(['question', 'context'],),
    fields='ernie.tasks.mrc.codec:FIELDS',
    forms={'squad': 'ernie.tasks.mrc.squad_form:SquadForm'},
)
