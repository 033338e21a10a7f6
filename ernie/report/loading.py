"""How a checkpoint is loaded, as commands and code that can be copied: for report.html and the model card."""

import shlex

from ernie.tasks import table


def loading_code(folder, facts):
    """List of (what it does, language, commands or code).

    Args:
        folder: the checkpoint.
        facts: of `ernie.report.facts`.
    """
    name, columns = shlex.quote(folder), tuple(facts.get('columns') or ('text_a',))
    found = [
        ('On the command line:', 'sh', _command(name, columns)),
        ('In Python:', 'python', f'import ernie\n\nwith ernie.load({folder!r}) as model:\n    print({_call(columns)})'),
    ]
    task = facts.get('task')
    spec = table.find(task) if task in table.TASKS else None
    if spec and spec.huggingface:
        auto = f'AutoModel{spec.huggingface[0]}'
        load = (
            f'from transformers import AutoTokenizer, {auto}\n\n'
            "tokenizer = AutoTokenizer.from_pretrained('hf_model')\n"
            f"model = {auto}.from_pretrained('hf_model')"
        )
        found.append(('For Hugging Face transformers, first:', 'sh', f'ernie convert {name} hf_model --to huggingface'))
        found.append(('and then:', 'python', load))
    return found


def _command(name, columns):
    if 'question' in columns:
        return f"ernie predict {name} --question 'a question' --context 'a text'"
    second = " --text_b 'a second text'" if 'text_b' in columns else ''
    one = f"ernie predict {name} --text 'a text'{second}"
    return f'{one}\nernie predict {name} new.csv --output answers.jsonl'


def _call(columns):
    if 'question' in columns:
        return "model({'question': 'a question', 'context': 'a text'})"
    return "model(('a text', 'a second text'))" if 'text_b' in columns else "model('a text')"
