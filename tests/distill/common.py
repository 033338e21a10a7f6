"""What the tests of distill/ share."""


def write(path, lines):
    """Write lines; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    return path
