"""How a table's function finds the entry: by hash, by the longest prefix, by priority in rows and by hash per mask."""

from __future__ import annotations

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.layout import TablePlace, TuplePlace, identifier
from esa.switch.compiler.program import TableKey, TableNode, cells_of
from esa.switch.compiler.values import indented, literal

MAX_NESTED = 16  # words of a key that are hashed in one expression
LOWEST = -(1 << 62)  # below every priority


def key_names(at: int, key: TableKey, prefix: str = "") -> list[str]:
    """What the text calls the words of field `at` of a table's key."""
    name = prefix or f"k{at}"
    return [name] if key.bits <= 64 else [f"{name}_{k}" for k in range(cells_of(key.bits))]


def look_up(scope: Scope, table: TableNode, place: TablePlace) -> list[str]:
    """Lines that set `entry`, from the words of key that `key_names` names; `place.size` is a miss."""
    if not table.key:
        return ["entry = 0"]
    if place.hash_mask and not any(key.match_type == "lpm" for key in table.key):
        return _exact(scope, table, place)
    if place.hash_mask:
        return _longest_prefix(scope, table, place)
    if place.tuples is not None:
        return _tuples(scope, table, place, place.tuples)
    return _rows(scope, table, place)


def _probe(
    scope: Scope, table: TableNode, index: int, rows: int, width: int, hash_mask: int, keys: list[str], found: list[str]
) -> list[str]:
    """Lines that look `keys`, the first words of rows, up in the hash index and run `found` where they are."""
    name = identifier(table.name).upper()
    index_name = scope.constant(f"{name}_INDEX", index)
    words = scope.constant(f"{name}_KEYS", rows)
    value, before = scope.call("mix", keys[0]), []
    for number, key in enumerate(keys[1:], 1):
        if number % MAX_NESTED == 0:
            before.append(f"mixed = {value}")
            value = "mixed"
        value = scope.call("mix", f"{value} ^ {key}")
    base = f"{words} + {width} * (number - 1)" if width > 1 else f"{words} + number - 1"
    same = " and ".join(f"m64[at + {k}] == {key}" if k else f"m64[at] == {key}" for k, key in enumerate(keys))
    return [
        *before,
        f"slot = {value} & {hex(hash_mask)}",
        f"number = m64[{index_name} + slot]",
        "while number != 0:",
        *indented([f"at = {base}", f"if {same}:", *indented(found)]),
        f"    slot = (slot + 1) & {hex(hash_mask)}",
        f"    number = m64[{index_name} + slot]",
    ]


def _exact(scope: Scope, table: TableNode, place: TablePlace) -> list[str]:
    keys = [name for at, key in enumerate(table.key) for name in key_names(at, key)]
    return [f"entry = {place.size}", *_hashed(scope, table, place, keys)]


def _hashed(scope: Scope, table: TableNode, place: TablePlace, keys: list[str]) -> list[str]:
    found = ["entry = number - 1", "break"]
    return _probe(scope, table, place.index, place.keys, place.words, place.hash_mask, keys, found)


def _longest_prefix(scope: Scope, table: TableNode, place: TablePlace) -> list[str]:
    at = next(k for k, key in enumerate(table.key) if key.match_type == "lpm")
    keys = [name for k, key in enumerate(table.key) for name in key_names(k, key, "prefix" if k == at else "")]
    keys.append("length")
    lengths = scope.constant(f"{identifier(table.name).upper()}_LENGTHS", place.order)
    loop = [
        f"length = m64[{lengths} + i]",
        *_prefix(scope, at, table.key[at]),
        *_hashed(scope, table, place, keys),
        f"if entry != {place.size}:",
        "    break",
    ]
    return [f"entry = {place.size}", f"for i in range(m64[{place.count}]):", *indented(loop)]


def _prefix(scope: Scope, at: int, key: TableKey) -> list[str]:
    bits = key.bits
    if bits <= 64:
        ones = scope.call("low_ones", f"{bits} - length")
        return [f"prefix = k{at} & ({literal((1 << bits) - 1)} ^ {ones})"]
    names = zip(key_names(at, key, "prefix"), key_names(at, key), strict=True)
    return [
        f"{to} = {name} & ~{scope.call('low_ones', f'max({bits - 64 * k} - length, 0)')}"
        for k, (to, name) in enumerate(names)
    ]


# --- by priority ----------------------------------------------------------------------------------------------------


def _row_test(scope: Scope, table: TableNode) -> str:
    """Whether the row from word `row` on, (entry, key words), matches."""
    tests, firsts = [], [1]
    for key in table.key:
        firsts.append(firsts[-1] + 2 * cells_of(key.bits))
    # the widest first: it tells most entries apart
    for at, key in sorted(enumerate(table.key), key=lambda each: -each[1].bits):
        if key.match_type == "range":
            tests.append(_within(scope, at, key, "row", firsts[at]))
            continue
        names = key_names(at, key)
        for k, name in enumerate(names):
            low, mask = f"m64[row + {firsts[at] + k}]", f"m64[row + {firsts[at] + len(names) + k}]"
            tests.append(f"{name} & {mask} == {low}")
    return " and ".join(tests)


def _within(scope: Scope, at: int, key: TableKey, row: str, first: int) -> str:
    """Whether a field of the key lies between the lows and highs from word `first` of a row on."""
    names = key_names(at, key)
    lows = [f"m64[{row} + {first + k}]" for k in range(len(names))]
    highs = [f"m64[{row} + {first + len(names) + k}]" for k in range(len(names))]
    if key.bits > 64:
        return f"{_at_most(scope, lows, names)} and {_at_most(scope, names, highs)}"
    if key.bits == 64:
        scope.helpers.add("unsigned")
        return f"unsigned({lows[0]}) <= unsigned(k{at}) <= unsigned({highs[0]})"
    return f"{lows[0]} <= k{at} <= {highs[0]}"


def _at_most(scope: Scope, lows: list[str], highs: list[str]) -> str:
    """Whether one number of several words, the lowest first, is not above another."""
    scope.helpers.add("unsigned")
    text = f"unsigned({lows[0]}) <= unsigned({highs[0]})"
    for low, high in zip(lows[1:], highs[1:], strict=True):
        text = f"(unsigned({low}) < unsigned({high}) or {low} == {high} and {text})"
    return text


def _rows(scope: Scope, table: TableNode, place: TablePlace) -> list[str]:
    """The first row that matches, of a small table."""
    rows = scope.constant(f"{identifier(table.name).upper()}_ROWS", place.order)
    loop = [
        f"row = {rows} + {place.words + 1} * i",
        f"if {_row_test(scope, table)}:",
        "    entry = m64[row]",
        "    break",
    ]
    return [f"entry = {place.size}", f"for i in range(m64[{place.count}]):", *indented(loop)]


def _tuples(scope: Scope, table: TableNode, place: TablePlace, tuples: TuplePlace) -> list[str]:
    """The best that hashes find, one for each tuple of masks, and then a row in blocks that is better still."""
    order = scope.constant(f"{identifier(table.name).upper()}_TUPLES", tuples.order)
    lines, keys, cell = [], ["masks"], 0
    for at, key in enumerate(table.key):
        for name in key_names(at, key):
            if key.match_type in ("exact", "valid"):
                keys.append(name)
            else:
                lines.append(f"q{cell} = {name} & m64[masks + {cell}]")
                keys.append(f"q{cell}")
            cell += 1
    found = _best_of_ranges(scope, table, tuples) if tuples.next < tuples.width else [
        f"priority = m64[at + {tuples.priority}]",
        "if priority > best or priority == best and number <= entry:",
        "    best = priority",
        "    entry = number - 1",
        "break",
    ]  # fmt: skip
    probe = _probe(scope, table, tuples.index, tuples.rows, tuples.width, tuples.hash_mask, keys, found)
    loop = [
        f"if m64[{order} + 2 * i] < best:",
        "    break",
        f"masks = m64[{order} + 2 * i + 1] & 0x7fffffff",
        *lines,
        *probe,
    ]
    return [
        f"entry = {place.size}",
        f"best = {literal(LOWEST)}",
        f"for i in range(m64[{tuples.count}]):",
        *indented(loop),
        *_blocks(scope, table, place, tuples),
    ]


def _best_of_ranges(scope: Scope, table: TableNode, tuples: TuplePlace) -> list[str]:
    """The best of the entries that have the same masks and masked key, by priority: their ranges differ."""
    rows = scope.constant(f"{identifier(table.name).upper()}_KEYS", tuples.rows)
    tests, first = [], tuples.next + 1
    for at, key in enumerate(table.key):
        if key.match_type == "range":
            tests.append(_within(scope, at, key, "at", first))
            first += 2 * cells_of(key.bits)
    return [
        "while number != 0:",
        f"    at = {rows} + {tuples.width} * (number - 1)",
        f"    priority = m64[at + {tuples.priority}]",
        "    if priority < best or priority == best and number > entry:",
        "        break",
        f"    if {' and '.join(tests)}:",
        "        best = priority",
        "        entry = number - 1",
        "        break",
        f"    number = m64[at + {tuples.next}]",
        "break",
    ]


def _blocks(scope: Scope, table: TableNode, place: TablePlace, tuples: TuplePlace) -> list[str]:
    name = identifier(table.name).upper()
    blocks = scope.constant(f"{name}_BLOCKS", place.blocks)
    rows = scope.constant(f"{name}_KEYS", tuples.rows)
    priority = f"m64[{rows} + {tuples.priority} + {tuples.width} * %s]"
    # A row that cannot be below zero is read without a look at its sign: twice as fast.
    loop = [
        f"first = m64[{blocks} + 2 * i] & 0x7fffffff",
        f"if {priority % 'm64[first]'} < best:",
        "    break",
        f"for j in range(m64[{blocks} + 2 * i + 1] & 0x7fffffff):",
        f"    row = first + {place.words + 1} * j",
        f"    if {_row_test(scope, table)}:",
        "        found = m64[row]",
        "        break",
        f"if found != {place.size}:",
        "    break",
    ]
    return [
        f"found = {place.size}",
        f"for i in range(m64[{place.count}]):",
        *indented(loop),
        f"if found != {place.size}:",
        f"    priority = {priority % 'found'}",
        "    if priority > best or priority == best and found < entry:",
        "        entry = found",
    ]
