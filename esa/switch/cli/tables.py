"""Commands for tables: entries and default actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.cli.client import DELETE, INSERT, MODIFY, CommandError
from esa.switch.cli.registry import command
from esa.switch.cli.session import Prepared, Session
from esa.switch.cli.show import action_line, action_text, entry_text, table_line
from esa.switch.cli.values import fill_action, fill_key, integer, needs_priority, priority

_NS_PER_MS = 1_000_000


def _add(session: Session, table: Any, texts: Sequence[str], fill: Any) -> Prepared:
    """Prepare an entry: its key before "=>", what `fill(words, entry)` makes of those after it, and a priority."""
    words = list(texts)
    entry = p4runtime_pb2.TableEntry(table_id=table.preamble.id)
    if "=>" not in words:
        raise CommandError("'=>' is missing between the match fields and what follows")
    if needs_priority(table):
        if words[-1] == "=>":
            raise CommandError("its entries need a priority, the last word")
        entry.priority = priority(words.pop())
    at = words.index("=>")
    fill_key(table, words[:at], entry)
    fill(words[at + 1 :], entry)

    def run() -> None:
        handle = session.handles(table).add(entry, lambda new: session.write_entry(INSERT, new))
        session.say(f"Entry has been added with handle {handle}")

    return run


@command("table_add <table> <action> <match fields> => [<action parameters>] [<priority>]", 3, None)
def _table_add(session: Session, words: Sequence[str]) -> Prepared:
    table = session.names.find("table", words[0])
    action = session.names.action_of(table, words[1])
    return _add(session, table, words[2:], lambda rest, entry: fill_action(action, rest, entry.action.action))


def _add_reference(session: Session, words: Sequence[str], kind: str, field: str) -> Prepared:
    table = session.names.find("table", words[0])
    session.names.profile_of(table)

    def fill(rest: Sequence[str], entry: Any) -> None:
        if len(rest) != 1:
            raise CommandError(f"{len(rest)} words after =>; allowed: the {kind}'s handle")
        setattr(entry.action, field, integer(rest[0], f"{kind} handle") + 1)

    return _add(session, table, words[1:], fill)


@command("table_indirect_add <table> <match fields> => <member handle> [<priority>]", 3, None)
def _indirect_add(session: Session, words: Sequence[str]) -> Prepared:
    return _add_reference(session, words, "member", "action_profile_member_id")


@command("table_indirect_add_with_group <table> <match fields> => <group handle> [<priority>]", 3, None)
def _indirect_add_with_group(session: Session, words: Sequence[str]) -> Prepared:
    return _add_reference(session, words, "group", "action_profile_group_id")


@command("table_set_default <table> <action> [<action parameters>]", 2, None)
def _table_set_default(session: Session, words: Sequence[str]) -> Prepared:
    table = session.names.find("table", words[0])
    entry = p4runtime_pb2.TableEntry(table_id=table.preamble.id, is_default_action=True)
    rest = words[3:] if words[2:3] == ["=>"] else words[2:]
    fill_action(session.names.action_of(table, words[1]), rest, entry.action.action)
    return lambda: session.write_entry(MODIFY, entry)


@command("table_reset_default <table>", 1)
def _table_reset_default(session: Session, words: Sequence[str]) -> Prepared:
    table = session.names.find("table", words[0])
    entry = p4runtime_pb2.TableEntry(table_id=table.preamble.id, is_default_action=True)
    return lambda: session.write_entry(MODIFY, entry)


@command("table_modify <table> <action> <entry handle> [<action parameters>]", 3, None)
def _table_modify(session: Session, words: Sequence[str]) -> Prepared:
    table, handle = session.names.find("table", words[0]), integer(words[2], "entry handle")
    action = p4runtime_pb2.TableAction()
    rest = words[4:] if words[3:4] == ["=>"] else words[3:]
    fill_action(session.names.action_of(table, words[1]), rest, action.action)

    def run() -> None:
        entry = session.handles(table).find(table.preamble.name, handle)
        entry.action.CopyFrom(action)
        session.write_entry(MODIFY, entry)

    return run


def _delete(session: Session, words: Sequence[str]) -> Prepared:
    table, handle = session.names.find("table", words[0]), integer(words[1], "entry handle")

    def run() -> None:
        handles = session.handles(table)
        session.write_entry(DELETE, handles.find(table.preamble.name, handle))
        handles.forget(handle)

    return run


command("table_delete <table> <entry handle>", 2)(_delete)
command("table_indirect_delete <table> <entry handle>", 2)(_delete)


@command("table_clear <table>", 1)
def _table_clear(session: Session, words: Sequence[str]) -> Prepared:
    table = session.names.find("table", words[0])

    def run() -> None:
        handles = session.reread(table)
        for handle, entry in handles.items():
            session.write_entry(DELETE, entry)
            handles.forget(handle)

    return run


@command("table_set_timeout <table> <entry handle> <milliseconds>", 3)
def _table_set_timeout(session: Session, words: Sequence[str]) -> Prepared:
    table, handle = session.names.find("table", words[0]), integer(words[1], "entry handle")
    timeout_ms = integer(words[2], "milliseconds")

    def run() -> None:
        entry = session.handles(table).find(table.preamble.name, handle)
        entry.idle_timeout_ns = timeout_ms * _NS_PER_MS
        session.write_entry(MODIFY, entry)

    return run


@command("table_num_entries <table>", 1)
def _table_num_entries(session: Session, words: Sequence[str]) -> Prepared:
    table = session.names.find("table", words[0])
    return lambda: session.say(str(len(session.reread(table))))


@command("table_dump <table>", 1)
def _table_dump(session: Session, words: Sequence[str]) -> Prepared:
    table = session.names.find("table", words[0])

    def run() -> None:
        session.say("==========\nTABLE ENTRIES")
        for handle, entry in session.reread(table).items():
            session.say("**********\n" + entry_text(session.names, table, handle, entry))
        session.say("==========\nDumping default entry")
        default = session.entries(table, default=True)
        session.say(action_text(session.names, default[0].action) if default else "EMPTY")
        session.say("==========")

    return run


@command("table_dump_entry <table> <entry handle>", 2)
def _table_dump_entry(session: Session, words: Sequence[str]) -> Prepared:
    table, handle = session.names.find("table", words[0]), integer(words[1], "entry handle")

    def run() -> None:
        entry = session.reread(table).find(table.preamble.name, handle)
        session.say(entry_text(session.names, table, handle, entry))

    return run


@command("table_dump_entry_from_key <table> <match fields> [<priority>]", 1, None)
def _table_dump_entry_from_key(session: Session, words: Sequence[str]) -> Prepared:
    table, texts = session.names.find("table", words[0]), list(words[1:])
    wanted = p4runtime_pb2.TableEntry()
    if needs_priority(table):
        if not texts:
            raise CommandError("its entries need a priority, the last word")
        wanted.priority = priority(texts.pop())
    fill_key(table, texts, wanted)

    def run() -> None:
        for handle, entry in session.reread(table).items():
            if entry.priority == wanted.priority and list(entry.match) == list(wanted.match):
                session.say(entry_text(session.names, table, handle, entry))
                return
        raise CommandError(f"table {table.preamble.name} has no such entry")

    return run


@command("show_tables", 0)
def _show_tables(session: Session, words: Sequence[str]) -> Prepared:
    return lambda: session.say("\n".join(table_line(session.names, each) for each in session.names.all("table")))


@command("show_actions", 0)
def _show_actions(session: Session, words: Sequence[str]) -> Prepared:
    return lambda: session.say("\n".join(map(action_line, session.names.all("action"))))


def _actions(session: Session, table: Any) -> str:
    found = [session.names.of_id(ref.id) for ref in table.action_refs]
    return "\n".join(action_line(each) for each in sorted(found, key=lambda each: str(each.preamble.name)))


@command("table_show_actions <table>", 1)
def _table_show_actions(session: Session, words: Sequence[str]) -> Prepared:
    table = session.names.find("table", words[0])
    return lambda: session.say(_actions(session, table))


@command("table_info <table>", 1)
def _table_info(session: Session, words: Sequence[str]) -> Prepared:
    table = session.names.find("table", words[0])
    return lambda: session.say(f"{table_line(session.names, table)}\n{'*' * 80}\n{_actions(session, table)}")
