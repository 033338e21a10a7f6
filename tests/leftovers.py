"""What a process that was killed while it made a folder leaves behind."""

import json
import secrets

from propeller.storage.locks import this_process


def dead_workplace(parent, target, **owner):
    """A workplace in `parent` for its entry `target`, with a half-written folder; nobody holds its lock. Its path."""
    place = parent / f'.propeller-work-{secrets.token_hex(8)}'
    (place / 'new').mkdir(parents=True)
    (place / 'new' / 'half').write_text('unfinished')
    facts = {'made_by': 'propeller whole_folder', 'target': target, 'locked': True, **this_process(), **owner}
    (place / 'owner.json').write_text(json.dumps(facts))
    return place
