"""YAML of plain values with the bounds of `propeller.inputs`, whose `read_yaml` is the way in."""

import math
import re

from propeller.errors import UserError, bad_input, quoted

MAX_DEPTH = 100
MAX_VALUES = 100_000
_LONGEST_NUMBER = 100
_EXPONENT = re.compile(r'[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$')


def parse_yaml(text, path, expected, lines=False):
    """See `propeller.inputs.read_yaml`. lines: also give a dict, name -> its line, of a mapping's first level."""
    try:
        import yaml
    except ImportError:
        raise UserError(f'{path}: YAML needs the package pyyaml: pip install pyyaml. Or write it as .json.') from None
    loader = None
    try:
        loader = _loader_class(yaml, path, expected)(text)
        root = loader.get_single_node()
        if root is not None:
            _expanded(root, {}, path, expected)
        value = None if root is None else loader.construct_document(root)
        if not lines:
            return value
        pairs = [(key, key.start_mark.line + 1) for key, _ in root.value] if isinstance(value, dict) else []
        return value, {loader.construct_object(key): line for key, line in pairs}
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else None
        raise bad_input(path, f'no YAML ({e.problem})', expected, line) from None
    except UserError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as e:  # ValueError: a date that is none
        raise bad_input(path, f'no YAML ({" ".join(str(e).split())})', expected) from None
    except (AttributeError, KeyError, IndexError, TypeError, RecursionError) as e:
        # PyYAML takes the forms of its own tags (!!binary, !!timestamp, !!omap) on trust.
        raise bad_input(path, f'no YAML ({type(e).__name__})', expected) from None
    finally:
        if loader is not None:
            loader.dispose()


def _expanded(node, known, path, expected, open_nodes=()):
    """How many values a node stands for, each use of a mark counted."""
    if id(node) in known:
        return known[id(node)]
    if node in open_nodes:
        raise bad_input(path, 'a value that contains itself', expected, node.start_mark.line + 1)
    children = () if node.id == 'scalar' else node.value
    total = 1
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            total += _expanded(part, known, path, expected, (*open_nodes, node))
    if total > MAX_VALUES:
        raise bad_input(path, f'more than {MAX_VALUES:,} values', expected, node.start_mark.line + 1)
    known[id(node)] = total
    return total


def _loader_class(yaml, path, expected):
    class Loader(yaml.SafeLoader):
        """`5e-5` is a number, as in YAML 1.2. A name that comes twice in a mapping would silently lose a value."""

        depth = 0

        def refuse(self, found, mark):
            return bad_input(path, found, expected, mark.line + 1)

        def deeper(self, depth, mark):
            if depth > MAX_DEPTH:
                raise self.refuse(f'YAML of more than {MAX_DEPTH} levels', mark)

        def fetch_flow_collection_start(self, kind):
            self.deeper(self.flow_level, self.get_mark())  # the scanner's time grows with the square of the depth
            super().fetch_flow_collection_start(kind)

        def compose_node(self, parent, index):
            self.depth += 1
            self.deeper(self.depth - 1, self.peek_event().start_mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node, deep=False):
            seen = set()
            for key, _ in node.value if node.id == 'mapping' else ():
                if key.id == 'scalar' and key.value in seen:
                    raise self.refuse(f'{quoted(key.value)} twice in one mapping', key.start_mark)
                if key.id == 'scalar':
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

        def number(self, node, make):
            value = make(node) if len(str(node.value)) <= _LONGEST_NUMBER else None
            fits = value is not None and (value.bit_length() <= 64 if isinstance(value, int) else math.isfinite(value))
            if not fits:
                raise self.refuse(f'the number {quoted(node.value)}', node.start_mark)
            return value

    Loader.add_implicit_resolver('tag:yaml.org,2002:float', _EXPONENT, '-+.0123456789')
    for kind, make in (('int', Loader.construct_yaml_int), ('float', Loader.construct_yaml_float)):
        Loader.add_constructor(
            f'tag:yaml.org,2002:{kind}', lambda self, node, make=make: self.number(node, lambda n: make(self, n))
        )
    return Loader
