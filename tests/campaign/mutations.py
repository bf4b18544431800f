"""Ways to make a model's file wrong: bytes that its digest does not fit, and contents that its digest does fit."""

import copy
import json
import random
import string
from typing import Any, NamedTuple

import numpy as np

from tests.surgery import DTYPES, Array, header_of, seal, take_apart

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 255, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**400, -(10**18),
    0.0, -0.5, 0.5, 1.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), "", "x", "9", "0.5", "lstm", "../x",
    "\ud800", "\x1b[2J", "\0", "n" * 5000, [], [1], [[]], [None], [1, 2, 3], {}, {"a": 1}, {"": None},
    [[0, 0.5], [1, 0.25]],
]  # fmt: skip
"""What a key may be given in place of its value."""

NUMBERS: list[Any] = [np.nan, np.inf, -np.inf, 0, -1, 1e38, -1e38, 1e-45, 255, 2**31 - 1]


class Mutant(NamedTuple):
    """A file's bytes, what was done to it, and whether its digest holds."""

    data: bytes
    what: str
    sealed: bool


def mutate(data: bytes, rng: random.Random) -> Mutant:
    """Return a file made wrong: one in four in its bytes alone."""
    if rng.random() < 0.25:
        changed, damage = _damage(data, rng)
        return Mutant(changed, damage, changed == data)
    document, tensors = take_apart(data)
    what = []
    of_header = 0
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.random()
        if kind < 0.9:
            what.append(change_json(document, rng) if kind < 0.55 else _change_tensors(tensors, rng))
        else:
            of_header += 1
    header, payload = header_of(document, tensors)
    what += [f"header: {change_json(header, rng)}" for _ in range(of_header)]
    return Mutant(seal(json.dumps(header), payload), "; ".join(what), True)


def _damage(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Return the bytes changed, and how."""
    changed = bytearray(data)
    end = min(len(data), 8 + int.from_bytes(data[:8], "little"))  # of the header, in a model's file
    place = rng.randrange(rng.choice((8, end, len(data))))
    length = min(len(data) - place, rng.choice((1, 4, 64, 1000)))
    match rng.randrange(7):
        case 0:
            bits = [rng.randrange(8 * len(data)) if rng.random() < 0.5 else 8 * place for _ in range(rng.randint(1, 3))]
            for bit in bits:
                changed[bit // 8] ^= 1 << rng.randrange(8)
            return bytes(changed), f"bits of bytes {[bit // 8 for bit in bits]} flipped"
        case 1:
            return data[:place], f"cut at {place}"
        case 2:
            return data + rng.randbytes(length), f"{length} bytes appended"
        case 3:
            changed[place : place + length] = bytes(length)
            return bytes(changed), f"{length} zeros at {place}"
        case 4:
            changed[place:place] = data[place : place + length]
            return bytes(changed), f"{length} bytes at {place} twice"
        case 5:
            del changed[place : place + length]
            return bytes(changed), f"{length} bytes at {place} removed"
        case _:
            changed[:8] = rng.choice((0, 1, end - 9, end - 7, 10**6, 10**6 + 1, 2**63, 2**64 - 1)).to_bytes(8, "little")
            return bytes(changed), "another length of the header"


def change_json(document: Any, rng: random.Random) -> str:
    """Change an object in place, at any depth; return how."""
    places: list[tuple[Any, Any, str]] = []

    def walk(node: Any, path: str) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            places.append((node, key, f"{path}/{key}"))
            walk(value, f"{path}/{key}")

    walk(document, "")
    node, key, path = rng.choice(places)
    value = node[key]
    match rng.randrange(8):
        case 0:
            del node[key]
            return f"{path} removed"
        case 1 | 2 | 3:
            node[key] = copy.deepcopy(rng.choice(VALUES))
        case 4:
            node[key] = _retyped(value, rng)
        case 5:
            other, their, path_of_other = rng.choice(places)
            node[key], other[their] = copy.deepcopy(other[their]), copy.deepcopy(value)
            return f"{path} and {path_of_other} swapped"
        case 6:
            if isinstance(node, dict):
                node[rng.choice(string.ascii_letters) + str(key)] = node.pop(key)
            else:
                node.insert(key, copy.deepcopy(value))
            return f"{path} renamed or twice"
        case _:
            if isinstance(value, int | float) and abs(value) < 1e300:
                node[key] = rng.choice((value + 1, value - 1, -value, value * 2, value * 1000, value / 2))
            else:
                node[key] = [value]
    return f"{path} = {str(node.get(key) if isinstance(node, dict) else node[key])[:60]!r}"


def _retyped(value: Any, rng: random.Random) -> Any:
    """Return a value as another type has it."""
    if isinstance(value, bool | int | float):
        return rng.choice((str(value), [value], bool(value), float(value) if abs(value) < 1e300 else 0.5, {"v": value}))
    if isinstance(value, str):
        return rng.choice((list(value), 5, value * 2, value[:-1], value.upper(), None))
    return rng.choice((None, str(value), [value], 0, not value))


def _change_tensors(tensors: dict[str, Array], rng: random.Random) -> str:
    """Change tensors in place; return how."""
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    match rng.randrange(9):
        case 0:
            del tensors[name]
            return f"{name} removed"
        case 1:
            other = rng.choice(sorted(tensors))
            tensors[name], tensors[other] = tensors[other], tensors[name]
            return f"{name} and {other} swapped"
        case 2:
            dtype = rng.choice(list(DTYPES.values()))
            with np.errstate(all="ignore"):
                tensors[name] = tensor.astype(dtype)
            return f"{name} as {np.dtype(dtype)}"
        case 3:
            shapes = [(1,), (0,), (tensor.size,), (1, *tensor.shape), (*tensor.shape, 1), tensor.shape[::-1], ()]
            shape = rng.choice(shapes)
            tensors[name] = np.resize(tensor, shape).astype(tensor.dtype)
            return f"{name} of shape {shape}"
        case 4 | 5:
            if tensor.size:
                flat = tensor.reshape(-1)
                value, count = rng.choice(NUMBERS), rng.choice((1, 3, flat.size))
                with np.errstate(all="ignore"):
                    for place in rng.sample(range(flat.size), min(count, flat.size)):
                        flat[place] = np.float64(value).astype(flat.dtype)
                return f"{count} numbers of {name} = {value}"
            return "nothing"
        case 6:
            if tensor.size and tensor.dtype != np.bool_:
                data = bytearray(tensor.tobytes())
                for _ in range(rng.randint(1, 4)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                tensors[name] = np.frombuffer(bytes(data), tensor.dtype).reshape(tensor.shape).copy()
            return f"bytes of {name} changed"
        case 7:
            new = rng.choice(("x", "train.x", f"{name}.x", name[:-1], name.replace(".", "/"), "tokenizer.vocabulary"))
            tensors[new] = tensors.pop(name)
            return f"{name} renamed {new}"
        case _:
            new = rng.choice(
                ("x", "train.x", "train.optimizer.x.step", "train.state.0", "train.optimizer.scaler.scale")
            )
            tensors[new] = np.zeros(rng.choice(((), (1,), (3, 4))), rng.choice(list(DTYPES.values())))
            return f"{new} added"


def mutate_text(data: bytes, rng: random.Random) -> Mutant:
    """Return a log or a file of options made wrong: in its bytes, or in the values of its lines."""
    if rng.random() < 0.3:
        changed, what = _damage(data, rng)
        return Mutant(changed, what, True)
    lines = data.split(b"\n")[:-1]
    number = rng.randrange(len(lines))
    line = lines[number]
    match rng.randrange(4):
        case 0:
            lines[number : number + 1] = rng.choice(
                ([], [line, line], [b""], [line[: len(line) // 2]], [b"\xff" + line])
            )
        case 1:
            lines[number] = rng.choice(
                (b"[]", b"1", b"null", b"{}", b"[" * 5000, b"\0", b"# x", b"x = 1", b"[x]", b'"x"')
            )
        case _ if line.startswith(b"{"):
            document = json.loads(line)
            what = change_json(document, rng)
            lines[number] = json.dumps(document).encode()
            return Mutant(b"\n".join([*lines, b""]), f"line {number + 1}: {what}", True)
        case _:
            key = line.partition(b" = ")[0]
            value = json.dumps(rng.choice(VALUES)).encode() if rng.random() < 0.8 else rng.randbytes(5)
            lines[number] = key + b" = " + value
    now = b"".join(lines[number : number + 1])[:60]
    return Mutant(b"\n".join([*lines, b""]), f"line {number + 1}: {now!r}", True)
