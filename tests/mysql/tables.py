#!/usr/bin/env python3
"""Asks a MySQL server for its collations, character sets and weights, and writes the tables of the crate.

    tests/mysql/tables.py "mysql --no-defaults -uroot -S SOCKET"

src/target/schema/collations.tsv   every collation: number, name, character set, widest character, default, pad
src/target/schema/charsets.bin     the code point of each byte, for the character sets of one byte
src/target/key/tables/*.bin        WEIGHT_STRING of every code point or byte (layout: src/target/key/weights.rs)

The files change only where the server's facts do. The command `zstd` is needed.
"""
import os
import shlex
import struct
import subprocess
import sys

CLIENT = shlex.split(sys.argv[1]) + ["--default-character-set=utf8mb4", "-BN"]
TARGET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "target")

# Multi-level, or with reordering of characters: no table of single bytes says how they sort.
NOT_BY_BYTE = {"latin2_czech_cs", "cp1250_czech_cs", "tis620_thai_ci", "binary"}

CODE_POINTS = 0x110000
BY_RULE_LISTED, BY_RULE_SAME = 0, 1
IMPLICIT_BASES = (0xFB40, 0xFB80, 0xFBC0)


def query(sql):
    done = subprocess.run(CLIENT, input=sql.encode(), capture_output=True, check=True)
    return done.stdout.decode()


def write(path, data, compress):
    path = os.path.join(TARGET, path)
    if compress:
        data = subprocess.run(["zstd", "-19", "--no-check"], input=data, capture_output=True, check=True).stdout
    with open(path, "wb") as out:
        out.write(data)
    print(f"{path}: {len(data)} bytes")


def collations():
    text = query("""
        SELECT c.ID, c.COLLATION_NAME, c.CHARACTER_SET_NAME, s.MAXLEN,
               IF(c.IS_DEFAULT = 'Yes', 'default', '-'), IF(c.PAD_ATTRIBUTE = 'PAD SPACE', 'pad', 'no-pad')
        FROM information_schema.COLLATIONS c JOIN information_schema.CHARACTER_SETS s USING (CHARACTER_SET_NAME)
        ORDER BY 1;""")
    write("schema/collations.tsv", text.encode(), False)
    return [line.split("\t") for line in text.splitlines()]


def charsets(rows):
    out = b""
    for name in sorted({row[2] for row in rows if row[3] == "1" and row[2] != "binary"}):
        answers = query("".join(
            f"SELECT {byte}, HEX(CONVERT(_{name} x'{byte:02x}' USING utf16));\n" for byte in range(256)))
        table = [0xFFFD] * 256
        for line in answers.splitlines():
            byte, answer = line.split("\t")
            byte, value = int(byte), int(answer, 16)
            # A byte without a meaning becomes a question mark, or in some sets U+0000.
            unknown = (value == 0x3F and byte != 0x3F) or (value == 0 and byte != 0) or len(answer) > 4
            table[byte] = 0xFFFD if unknown else value
        out += struct.pack(">256H", *table)
    write("schema/charsets.bin", out, False)


def single_bytes(rows):
    out = b""
    for number, name, charset, widest, _, _ in rows:
        if widest != "1" or name in NOT_BY_BYTE or name.endswith("_bin"):
            continue
        answers = query("".join(
            f"SELECT {byte}, HEX(WEIGHT_STRING(_{charset} x'{byte:02x}' COLLATE {name}));\n" for byte in range(256)))
        first, second = [0] * 256, [0] * 256
        for line in answers.splitlines():
            byte, answer = line.split("\t")
            weights = bytes.fromhex(answer)
            first[int(byte)] = weights[0]
            if len(weights) == 2:
                second[int(byte)] = weights[1]
        out += struct.pack(">H", int(number)) + bytes(first) + bytes(second)
    write("key/tables/single_byte.bin", out, True)


def code_points(collation):
    """The weights of every code point: one list per level."""
    weights = [None] * CODE_POINTS
    lines = query(f"""
        SET cte_max_recursion_depth = 2000000;
        WITH RECURSIVE all_points(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM all_points WHERE n < 1114111)
        SELECT n, HEX(WEIGHT_STRING(CONVERT(CHAR(n USING utf32) USING utf8mb4) COLLATE {collation}))
        FROM all_points WHERE n NOT BETWEEN 55296 AND 57343;""")
    for line in lines.splitlines():
        point, answer = line.split("\t")
        data = bytes.fromhex(answer)
        weights[int(point)] = struct.unpack(f">{len(data) // 2}H", data)
    return weights


def rule_of(page, lists):
    """The rule that gives all lists of a page, or BY_RULE_LISTED."""
    known = [(page * 256 + low, entry) for low, entry in enumerate(lists) if entry is not None]
    if not known or all(entry == ((0xFFFD,),) for _, entry in known):
        return 0xFFFD
    if all(entry == ((point,),) for point, entry in known):
        return BY_RULE_SAME
    for base in IMPLICIT_BASES:
        if all(entry[0] == (base + (point >> 15), point & 0x7FFF | 0x8000)
               and entry[1:] in ((), ((0x20,), (0x02,))) for point, entry in known):
            return base
    return BY_RULE_LISTED


def unicode_table(name, collation, levels):
    entries = []
    for weights in code_points(collation):
        if weights is None:
            entries.append(None)
        elif levels == 1:
            entries.append((weights,))
        else:
            lists, current = [], []
            for weight in weights:
                if weight == 0:
                    lists.append(tuple(current))
                    current = []
                else:
                    current.append(weight)
            lists.append(tuple(current))
            assert len(lists) == levels
            entries.append(tuple(lists))
    rules, listed = [], b""
    for page in range(CODE_POINTS // 256):
        lists = entries[page * 256:page * 256 + 256]
        rule = rule_of(page, lists)
        rules.append(rule)
        if rule != BY_RULE_LISTED:
            continue
        for entry in lists:
            entry = entry or ((),) * levels
            header = 0
            for level, weights in enumerate(entry):
                assert len(weights) < 32
                header |= len(weights) << (5 * level)
            flat = [weight for weights in entry for weight in weights]
            listed += struct.pack(f">{1 + len(flat)}H", header, *flat)
    write(f"key/tables/{name}.bin", struct.pack(">4352H", *rules) + listed, True)
    return entries


def main():
    rows = collations()
    charsets(rows)
    single_bytes(rows)
    unicode_table("general_ci", "utf8mb4_general_ci", 1)
    unicode_table("unicode_ci", "utf8mb4_unicode_ci", 1)
    unicode_table("unicode_520_ci", "utf8mb4_unicode_520_ci", 1)
    sensitive = unicode_table("0900", "utf8mb4_0900_as_cs", 3)
    # The collations that pass over case or accents have the same weights, on fewer levels.
    for name, levels in (("utf8mb4_0900_as_ci", 2), ("utf8mb4_0900_ai_ci", 1)):
        for weights, entry in zip(code_points(name), sensitive):
            if entry is not None:
                expected = entry[0] + tuple(w for more in entry[1:levels] for w in (0,) + more)
                assert weights == expected, (name, weights, entry)


main()
