"""Whether Hugging Face's model, made from an exported folder, gives the numbers that ours gives.

Shapes: B batch, T length, H hidden, C outputs of a head.
"""

import importlib.metadata

import numpy as np

from ernie.checkpoint.huggingface_check import sample_texts
from ernie.inference.predict import tokenized_rows
from ernie.reader.tokenized_set import encoder_arrays
from ernie.tasks import table
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError

TOLERANCE = 1e-5
TEXTS, LONGEST = 8, 64


def output_check():
    """The function `check` of `ernie.checkpoint.convert`; None where transformers or torch is not installed."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:  # not there, or its own needs are not
        return None
    return check_outputs


def check_outputs(folder, model, config):
    """Compare what both frameworks compute for a padded batch of texts.

    Args:
        folder: as exported.
        model: `ernie.checkpoint.Model` that it was made of.
        config: its `ErnieConfig`.

    Returns:
        a sentence that says what was compared with what.

    Raises:
        UserError: the difference is larger than `TOLERANCE` of the largest value.
    """
    batch = sample_batch(f'{folder}/vocab.txt', config)
    (ours,), (theirs,) = outputs(model, config, [batch]), their_outputs(folder, [batch])
    real = batch[3].astype(bool)
    largest = 0.0
    for name, values in ours.items():
        a, b = (x[real] if x.shape[:2] == real.shape else x for x in (values, theirs[name]))
        difference = float(np.abs(a - b).max()) / max(1.0, float(np.abs(a).max()))
        if not difference <= TOLERANCE:
            raise UserError(f'{model.path}: {name} of transformers differ by {difference:.1e} of the largest value.')
        largest = max(largest, difference)
    kind = f'transformers {importlib.metadata.version("transformers")}'
    return f'the same {" and ".join(ours)} in {kind}, largest difference {largest:.1e}'


def sample_batch(vocab_path, config):
    """Token ids, sentence types, positions int64 [B, T] and mask float32 [B, T]; the later half of each row is of the
    second sentence type, where the model has two.
    """
    tokenizer = FullTokenizer(vocab_path)
    longest = min(LONGEST, config.max_position_embeddings)
    cls, sep = tokenizer.vocab['[CLS]'], tokenizer.vocab['[SEP]']
    rows = [[cls, *tokenizer.encode(text)[: longest - 2], sep] for text in sample_texts(tokenizer.vocab, TEXTS)]
    split = [len(row) // 2 if config.sentence_types > 1 else len(row) for row in rows]
    return encoder_arrays(tokenized_rows(rows, split), np.arange(len(rows)))


def outputs(model, config, batches):
    """What our graph computes for each batch: a dict of 'hidden states' float32 [B, T, H] and, of a task head, 'scores'
    [B, C] or [B, T, C].

    model: mapping of ERNIE's names to arrays. batches: list of what `sample_batch` gives.
    """
    from ernie.model.encoders import build_encoder
    from ernie.model.task_model import encoder_feeds  # these load Paddle
    from propeller.session import Session
    from propeller.storage.values import load_values

    session = Session(seed=0)

    def build(*features):
        return [build_encoder(features, config).get_sequence_output()]

    program = session.build(encoder_feeds(config), build, portable=True)
    session.initialize(program)
    load_values(session, program.parameters(), model, 'the model')
    fetch = program.outputs
    found = []
    for batch in batches:
        arrays = [*batch, np.zeros_like(batch[0])] if config.use_task_id else list(batch)
        hidden = session.run(program, arrays, fetch)[0]
        found.append({'hidden states': hidden} | _scores(model, hidden))
    return found


def _scores(model, hidden):
    task = table.with_head(model)
    if task is None or not task.huggingface:
        return {}
    (weight, bias), features = task.head[:2], hidden
    if task.name == 'classification':
        features = np.tanh(hidden[:, 0] @ model['pooled_fc.w_0'] + model['pooled_fc.b_0'])
    return {'scores': features @ model[weight] + model[bias]}


def their_outputs(folder, batches):
    """The same, of transformers' own class for the folder."""
    import torch
    import transformers

    name = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    made = getattr(transformers, name).from_pretrained(folder).float().eval()
    found = []
    for batch in batches:
        ids, types, _, mask = (torch.tensor(array) for array in batch)
        with torch.no_grad():
            said = made(input_ids=ids, token_type_ids=types, attention_mask=mask, output_hidden_states=True)
        found.append({'hidden states': said.hidden_states[-1].numpy()})
        if hasattr(said, 'start_logits'):
            found[-1]['scores'] = torch.stack([said.start_logits, said.end_logits], -1).numpy()
        elif hasattr(said, 'logits'):
            found[-1]['scores'] = said.logits.numpy()
    return found
