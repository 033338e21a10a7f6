"""Report of a data build: counts, lengths, unknown rate, label balance, what was left out, the first samples."""

SPLITS = ('train', 'valid')


def summarize(shards, skipped, seconds, classes):
    """The report as a JSON-able dict.

    Args:
        shards: dict number -> shard of a manifest.
        skipped: dict reason -> number, of what was left out when reading.
        seconds: time of this run.
        classes: dict task -> names of its classes, or their number.
    """
    splits = {}
    for split in SPLITS:
        total = {}
        for shard in shards.values():
            for key, value in shard['counts'].get(split, {}).items():
                total[key] = total.get(key, 0) + value
        if total:
            splits[split] = _nested(total)
    first = next((shards[number]['first'] for number in sorted(shards) if shards[number]['first']), [])
    return {
        'shards': len(shards),
        'seconds': round(seconds, 1),
        'skipped input': dict(skipped),
        'classes': classes,
        'splits': splits,
        'first samples': first,
    }


def _nested(counts):
    """`labels/next_sentence/1: 5` -> {'labels': {'next_sentence': {'1': 5}}}, keys in order."""
    nested = {}
    for key, value in sorted(counts.items(), key=lambda item: [_sortable(part) for part in item[0].split('/')]):
        *parents, name = key.split('/')
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return nested


def _sortable(part):
    return (0, int(part), '') if part.isdigit() else (1, 0, part)


def as_text(report):
    """The report for people, lines of text."""
    lines = [f'{report["shards"]} shards, {report["seconds"]} s in this run']
    for split, counts in report['splits'].items():
        lines += _split_lines(split, counts)
    for reason, number in report['skipped input'].items():
        lines.append(f'input: {number:,} {reason}')
    for number, sample in enumerate(report['first samples'], start=1):
        lines += _sample_lines(number, sample)
    return '\n'.join(lines) + '\n'


def _split_lines(split, counts):
    tokens = counts.get('tokens', 0)
    inputs = ', '.join(f'{counts[kind]:,} {kind}' for kind in ('documents', 'dialogues', 'queries') if kind in counts)
    lines = [
        f'{split}: {inputs}, {counts.get("sentences", 0):,} sentences, {counts.get("characters", 0):,} characters, '
        f'{tokens:,} tokens in {counts.get("units", 0):,} units, '
        f'unknown {100 * counts.get("unknown tokens", 0) / max(tokens, 1):.2f} %'
    ]
    if cut := counts.get('sentences cut by length'):
        lines.append(f'{split}: {cut:,} sentences longer than a sample were cut by length (counted above: their parts)')
    samples = counts.get('samples', 0)
    mean = counts.get('sample tokens', 0) / max(samples, 1)
    lines.append(f'{split}: {samples:,} samples of {mean:.1f} tokens on average')
    lengths = ', '.join(f'up to {length}: {number:,}' for length, number in counts.get('lengths', {}).items())
    lines.append(f'{split}: lengths {lengths}')
    for task, labels in counts.get('labels', {}).items():
        total = sum(labels.values())
        shares = ', '.join(f'{label}: {number:,} ({100 * number / total:.1f} %)' for label, number in labels.items())
        lines.append(f'{split}: {task} {shares}')
    lines += [f'{split}: left out: {number:,} {reason}' for reason, number in counts.get('left out', {}).items()]
    return lines


def _sample_lines(number, sample):
    labels = {name: 'masked' if label is None else label for name, label in sample['labels'].items()}
    return [
        f'sample {number}, task id {sample["task_id"]}, {len(sample["token_ids"])} tokens',
        f'  text: {sample["text"]}',
        *(f'  {name}: {_numbers(sample[name])}' for name in ('token_ids', 'sentence_types', 'positions', 'segments')),
        *(f'  {name}: {_numbers(label)}' for name, label in labels.items()),
    ]


def _numbers(values):
    return ' '.join(map(str, values)) if isinstance(values, list | tuple) else str(values)
