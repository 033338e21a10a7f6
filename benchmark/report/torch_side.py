"""What `benchmark.report` compares with: PyTorch and transformers as they are usually run on a processor.

Training: `BertForSequenceClassification` with scaled dot-product attention, rows of like length together and padded to
the longest of the batch, autocast for bfloat16, fused AdamW, clipping. Pre-training: the same with the words' head on
the masked tokens alone (transformers' own computes it for all). Prediction: bfloat16 weights for 'bf16'.
"""

import contextlib
import json
import os
import random
import resource
import statistics
import time

import torch
import transformers
from torch.nn import functional

IGNORED, MASK_SHARE = -100, 0.15


class MaskedWords(torch.nn.Module):
    """An encoder with the heads of masked words, which share the word table, and of the next sentence."""

    def __init__(self, config):
        super().__init__()
        self.model = transformers.BertForPreTraining(config)

    def forward(self, input_ids, attention_mask, words, labels):
        hidden, pooled = self.model.bert(input_ids, attention_mask)[:2]
        chosen = words != IGNORED
        scores = self.model.cls.predictions(hidden[chosen])
        of_sentences = self.model.cls.seq_relationship(pooled)
        return functional.cross_entropy(scores.float(), words[chosen]) + functional.cross_entropy(
            of_sentences.float(), labels
        )


class Classifier(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.model = transformers.BertForSequenceClassification(config)

    def forward(self, input_ids, attention_mask, labels=None):
        return self.model(input_ids, attention_mask, labels=labels)[0]


def padded(rows):
    """dict of int64 tensors of some rows of token ids."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {'input_ids': ids, 'attention_mask': mask}


def grouped(rows, size):
    """Batches of rows of like length, in random order."""
    ordered = sorted(rows, key=len)
    batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    random.shuffle(batches)
    return batches


def masked(batch, vocabulary):
    """The batch with 15 % of its tokens to be told; of these 80 % are hidden, 10 % are other words."""
    ids, chosen = batch['input_ids'], torch.rand(batch['input_ids'].shape) < MASK_SHARE
    kind = torch.rand(ids.shape)
    words = torch.where(chosen, ids, IGNORED)
    ids = torch.where(chosen & (kind < 0.8), 4, ids)
    ids = torch.where(chosen & (kind >= 0.9), torch.randint(vocabulary, ids.shape), ids)
    return {**batch, 'input_ids': ids, 'words': words}


def autocast(settings):
    return torch.autocast('cpu', torch.bfloat16) if settings['precision'] == 'bf16' else contextlib.nullcontext()


def train(settings, config, rows):
    """Tokens a second."""
    pretrains = settings['kind'] == 'pretrain'
    model = (MaskedWords if pretrains else Classifier)(config).train()
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{'params': decayed, 'weight_decay': 0.01}, {'params': others, 'weight_decay': 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=5e-5, fused=True)
    tokens, began = 0, 0.0
    for step, part in enumerate(grouped(rows, settings['rows'])):
        if step == settings['warm']:
            tokens, began = 0, time.perf_counter()
        batch = padded(part)
        batch['labels'] = torch.tensor([i % 2 for i in range(len(part))])
        if pretrains:
            batch = masked(batch, config.vocab_size)
        with autocast(settings):
            loss = model(**batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        tokens += sum(map(len, part))
    return {'rate': tokens / (time.perf_counter() - began)}


def predict(settings, config, rows):
    """Tokens a second of whole passes, the median; of 'latency', milliseconds of a call."""
    model = Classifier(config).eval()
    if settings['precision'] == 'bf16':
        model = model.to(torch.bfloat16)
    ordered = sorted(rows, key=len)
    size = settings['rows']
    batches = [padded(ordered[start : start + size]) for start in range(0, len(ordered), size)]
    alone = settings['kind'] == 'latency'
    seconds = []
    with torch.inference_mode():
        for _ in range(settings['warm'] + settings['counted'] if alone else 8):
            began = time.perf_counter()
            for batch in batches:
                model(**batch).argmax(1)
            seconds.append(time.perf_counter() - began)
    if alone:
        return {'ms': 1000 * statistics.median(seconds[settings['warm'] :])}
    return {'rate': sum(map(len, rows)) / statistics.median(seconds[1:])}


def main(settings):
    """Measure, and print a JSON line. settings: dict, see `rival.py`."""
    torch.set_num_threads(settings['threads'])
    torch.manual_seed(1)
    random.seed(1)
    transformers.logging.set_verbosity_error()
    config = transformers.BertConfig.from_json_file(os.path.join(settings['folder'], 'config.json'))
    config.num_labels, config.pad_token_id = 2, 0
    with open(os.path.join(settings['folder'], 'ids.json'), encoding='utf-8') as f:
        rows = json.load(f)
    measure = predict if settings['kind'] in ('predict', 'latency') else train
    found = measure(settings, config, rows)
    found['gigabytes'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(found))
