"""What launchers say to each other, and what they make of anything else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.launch.messages import LONGEST_LINE, Failure, Garbage, Lines, WrongSecret, disagreement, encode

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.floats(allow_nan=False)
messages = st.lists(st.dictionaries(st.text(), scalars | st.lists(scalars), max_size=4), max_size=6)


SECRETS = st.sampled_from([b'', b'secret', 'Ünïcode'.encode() * 20])


@given(messages, SECRETS, st.data())
def test_messages_survive_any_cutting(sent, secret, data):
    stream = b''.join(encode(message, secret) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    lines, received = Lines(secret), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += lines.feed(stream[start:end])
    assert received == sent


def test_only_who_knows_the_secret_is_heard():
    line = encode({'done': True}, b'one')
    for secret, sent in (
        (b'two', line),
        (b'', line),
        (b'one', encode({'done': True})),
        (b'one', b'0' * 64 + line[64:]),
    ):
        with pytest.raises(WrongSecret):
            Lines(secret).feed(sent)
    with pytest.raises(WrongSecret):
        Lines(b'one').feed(line.replace(b'true', b'null'))
    with pytest.raises(Garbage) as e:
        Lines(b'one').feed(b'GET / HTTP/1.1\n')
    assert not isinstance(e.value, WrongSecret)


@given(st.binary(max_size=300))
def test_bytes_are_messages_or_garbage(stream):
    try:
        received = Lines().feed(stream + b'\n')
    except Garbage:
        return
    assert received == [json.loads(line) for line in stream.split(b'\n')]


def test_endless_lines_are_cut_off():
    lines = Lines()
    with pytest.raises(Garbage):
        for _ in range(10):
            lines.feed(b' ' * (LONGEST_LINE // 4))


@given(st.text(), st.integers(1, 255), st.booleans(), st.integers(0, 64))
def test_a_failure_arrives_as_it_was_sent(text, code, restartable, number):
    arrived = Failure.from_message(json.loads(encode(Failure(text, code, restartable, number).to_message())))
    assert (arrived.code, arrived.restartable, arrived.signal) == (code, restartable, number)
    assert arrived.text.isprintable()
    if text.isprintable():
        assert arrived.text == text[:1000]


GOOD = {'text': 't', 'code': 1, 'restartable': True, 'signal': 0}


@pytest.mark.parametrize(
    'fields',
    [None, [], {}, GOOD | {'more': 1}, {'text': 't', 'code': 1}]
    + [GOOD | {'code': value} for value in (0, 256, -1, True, '1', 1.5, None)]
    + [GOOD | {'signal': value} for value in (-1, 65, False, '2')]
    + [GOOD | {'restartable': 1}, GOOD | {'text': 3}],
)
def test_no_failure(fields):
    with pytest.raises(Garbage):
        Failure.from_message({'failed': fields})


def test_disagreement():
    facts = {'--nproc_per_node': 2, '--master': 'a:1'}
    assert disagreement(facts, dict(facts, other=1), 3) is None
    text = disagreement(facts, {'--master': 'b:1\n[ERROR] forged', '--nproc_per_node': 2}, 3)
    assert text.startswith('the launchers disagree: --master is a:1 on node 0 and b:1\\n[ERROR] forged on node 3.')
    assert '--nproc_per_node' not in text
    assert 'None on node 1' in disagreement(facts, {}, 1)
