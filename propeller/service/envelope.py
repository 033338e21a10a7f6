"""The frames around a message of ZeroMQ, as a ROUTER socket sees them: who asks, and the way back.

    REQ, as in 2019     [identity, '', message]
    DEALER              [identity, message] or [identity, anything, '', message]

What stands between the identity and the message goes back with the answer as it came: a client that has several
requests under way puts a number of its own there, a proxy the identity of its client.
"""

from propeller.service.errors import ServiceError

MOST_FRAMES, MOST_BYTES = 8, 255  # of the way back


def split(frames, message_bytes):
    """Take a request apart.

    Args:
        frames: list of bytes or memoryviews, those after the identity; at least one.
        message_bytes: most bytes of the message.
    Returns:
        (list of frames of the way back, the message or the `ServiceError` that is the answer).
    """
    empty = next((place for place, frame in enumerate(frames[: MOST_FRAMES + 1]) if not len(frame)), None)
    if empty is None or len(frames) == 1:
        way, rest = [], frames
    else:
        way, rest = frames[: empty + 1], frames[empty + 1 :]
    if any(len(frame) > MOST_BYTES for frame in way):
        found = f'{max(len(frame) for frame in way):,} bytes before the empty frame'
        return way[-1:], ServiceError('malformed', f'found a frame of {found}, expected {MOST_BYTES} at most.')
    if len(rest) != 1:
        found = f'{len(rest):,} frames' if rest else 'no frame'
        return way, ServiceError('malformed', f'found {found} after the empty one, expected one: the message.')
    (message,) = rest
    if not len(message):
        return way, ServiceError('malformed', 'found an empty message, expected Slots or JSON.')
    if len(message) > message_bytes:
        limit = {'name': 'message_bytes', 'value': message_bytes, 'found': len(message)}
        text = f'{len(message):,} bytes in one message, where at most {message_bytes:,} are taken (--message_bytes).'
        return way, ServiceError('too_large', text, limit)
    return way, message
