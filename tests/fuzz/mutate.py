"""Changes to a file, drawn from a seed: flipped bits, cut and doubled lines, odd numbers, commands, deep nesting."""

import random
import re

NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
NUMBERS = [
    b"nan", b"NaN", b"-inf", b".inf", b"1e999", b"-1e308", b"1e-320", b"0", b"-1", b"1e30", b"9" * 5000, b"0x10",
    b"1_000", b"1,5", b"1e", b"--1", b".", b"true", b"null", b"", b"308p", b"10meg", b"{1/0}", b"2001-01-01",
]  # fmt: skip
ODD = [
    b"\x1b[31mred\x1b[0m", b"\0", "‮".encode(), "é".encode("latin-1"), "µ".encode(), b"\xff\xfe", b"[bold]x[/bold]",
    b"=cmd|' /C calc'!A0", b"\r", b"\x1a", b"`touch CANARY`", b"$(touch CANARY)", b"../" * 40, b"/dev/zero", b"%s%n",
    b"!!python/object/apply:os.system ['touch CANARY']", b"!!timestamp 2001-01-01", b"&a [*a]", b"<<: *a", b"os:system",
    b"{'a':" * 300, b"[" * 2000, b"{" * 2000, b"(" * 2000, b'"', b"'", b"\\", b"a" * 60_000, b"," * 100_000,
    b" " * 50_000,
]  # fmt: skip


def mutated(data: bytes, rng: random.Random, lines: list[bytes], canary: str) -> bytes:
    """`data` with one to three changes; `lines` are whole lines that this kind of file could carry.

    ``CANARY`` in what is put in stands for the path `canary`, which no reader may bring into being.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(CHANGES)(data, rng, lines)
    return data.replace(b"CANARY", canary.encode())


def _flip(data: bytes, rng: random.Random, lines: list[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _cut(data: bytes, rng: random.Random, lines: list[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] if rng.random() < 0.7 else data[:at] + data[min(at + rng.randrange(1, 200), len(data)) :]


def _number(data: bytes, rng: random.Random, lines: list[bytes]) -> bytes:
    found = list(NUMBER.finditer(data[:200_000]))
    if not found:
        return data + rng.choice(NUMBERS)
    at = rng.choice(found)
    return data[: at.start()] + rng.choice(NUMBERS) + data[at.end() :]


def _odd(data: bytes, rng: random.Random, lines: list[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(ODD) + data[at:]


def _line(data: bytes, rng: random.Random, lines: list[bytes]) -> bytes:
    rows = data.split(b"\n")
    at = rng.randrange(len(rows))
    action = rng.choice(("drop", "double", "swap", "own", "own", "many"))
    if action == "drop":
        del rows[at]
    elif action == "double":
        rows.insert(at, rows[at])
    elif action == "many":
        rows[at:at] = [rows[at]] * min(200, 200_000 // (len(rows[at]) + 1))
    elif action == "own" and lines:
        rows.insert(at, rng.choice(lines))
    else:
        other = rng.randrange(len(rows))
        rows[at], rows[other] = rows[other], rows[at]
    return b"\n".join(rows)


def _word(data: bytes, rng: random.Random, lines: list[bytes]) -> bytes:
    words = list(re.finditer(rb"[A-Za-z_]\w*", data[:200_000]))
    if not words:
        return data
    at, other = rng.choice(words), rng.choice(words)
    put = rng.choice((other[0], b"", at[0].upper(), at[0] * 2, rng.choice(ODD)))
    return data[: at.start()] + put + data[at.end() :]


def _encode(data: bytes, rng: random.Random, lines: list[bytes]) -> bytes:
    text = data.decode("utf-8", "replace")
    return rng.choice((text.encode("utf-16"), text.encode("utf-8-sig"), text.replace("\n", "\r\n").encode(), b""))


CHANGES = [_flip, _cut, _number, _number, _number, _odd, _odd, _line, _line, _line, _word, _word, _encode]
