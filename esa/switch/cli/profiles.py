"""Commands for action profiles: members and groups. A handle is one less than P4Runtime's id, which starts at 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.cli.client import DELETE, INSERT, MODIFY, CommandError
from esa.switch.cli.registry import command
from esa.switch.cli.session import Prepared, Session, allowed, lowest_free
from esa.switch.cli.show import call_text
from esa.switch.cli.values import fill_action, integer

Find = Callable[[Session, str], Any]


def _profile(session: Session, name: str) -> Any:
    return session.names.find("action profile", name)


def _profile_of_table(session: Session, name: str) -> Any:
    return session.names.profile_of(session.names.find("table", name))


# The second form of each is simple_switch_CLI's older one, which names a table.
_FORMS: tuple[tuple[str, str, Find], ...] = (
    ("act_prof_", "<action profile>", _profile),
    ("table_indirect_", "<table>", _profile_of_table),
)


def _both(
    name: str, words: str, least: int, most: int | None = -1
) -> Callable[[Callable[[Session, Any, Sequence[str]], Prepared]], None]:
    """Register a command under both forms; it is given the profile and the words after it."""

    def register(prepare: Callable[[Session, Any, Sequence[str]], Prepared]) -> None:
        for prefix, owner, find in _FORMS:

            def found(session: Session, given: Sequence[str], find: Find = find) -> Prepared:
                return prepare(session, find(session, given[0]), given[1:])

            command(f"{prefix}{name} {owner} {words}".strip(), least + 1, most)(found)

    return register


def _entity(profile: Any, kind: str, handle: int | None = None) -> tuple[Any, Any]:
    """An Entity of a profile and what is in it: a member or a group, of all for None."""
    entity = p4runtime_pb2.Entity()
    message = getattr(entity, f"action_profile_{kind}")
    message.action_profile_id = profile.preamble.id
    if handle is not None:
        setattr(message, f"{kind}_id", handle + 1)
    return entity, message


def _read(session: Session, profile: Any, kind: str) -> dict[int, Any]:
    """Members or groups by handle, as the switch has them."""
    entity, _ = _entity(profile, kind)
    found = [getattr(each, f"action_profile_{kind}") for each in session.client.read(entity)]
    return {getattr(each, f"{kind}_id") - 1: each for each in found}


def _one(session: Session, profile: Any, kind: str, handle: int) -> Any:
    there = _read(session, profile, kind)
    if handle not in there:
        raise CommandError(f"action profile {profile.preamble.name} has no {kind} {handle}; {allowed(there)}")
    return there[handle]


def _selects(profile: Any) -> None:
    if not profile.with_selector:
        raise CommandError(f"action profile {profile.preamble.name} has no selector, and so no groups")


def _creation(session: Session, profile: Any, kind: str, entity: Any, entry: Any) -> Prepared:
    """Write a new member or group under the lowest free handle, and say which."""

    def run() -> None:
        handle = lowest_free(_read(session, profile, kind))
        setattr(entry, f"{kind}_id", handle + 1)
        session.client.write(INSERT, entity)
        session.say(f"{kind.capitalize()} has been created with handle {handle}")

    return run


@_both("create_member", "<action> [<action parameters>]", 1, None)
def _create_member(session: Session, profile: Any, words: Sequence[str]) -> Prepared:
    entity, member = _entity(profile, "member")
    fill_action(session.names.member_action(profile, words[0]), words[1:], member.action)
    return _creation(session, profile, "member", entity, member)


@_both("modify_member", "<action> <member handle> [<action parameters>]", 2, None)
def _modify_member(session: Session, profile: Any, words: Sequence[str]) -> Prepared:
    entity, member = _entity(profile, "member", integer(words[1], "member handle"))
    rest = words[3:] if words[2:3] == ["=>"] else words[2:]
    fill_action(session.names.member_action(profile, words[0]), rest, member.action)
    return lambda: session.client.write(MODIFY, entity)


@_both("delete_member", "<member handle>", 1)
def _delete_member(session: Session, profile: Any, words: Sequence[str]) -> Prepared:
    entity, _ = _entity(profile, "member", integer(words[0], "member handle"))
    return lambda: session.client.write(DELETE, entity)


@_both("create_group", "", 0)
def _create_group(session: Session, profile: Any, words: Sequence[str]) -> Prepared:
    _selects(profile)
    entity, group = _entity(profile, "group")
    return _creation(session, profile, "group", entity, group)


@_both("delete_group", "<group handle>", 1)
def _delete_group(session: Session, profile: Any, words: Sequence[str]) -> Prepared:
    _selects(profile)
    entity, _ = _entity(profile, "group", integer(words[0], "group handle"))
    return lambda: session.client.write(DELETE, entity)


def _change_group(session: Session, profile: Any, words: Sequence[str], change: Callable[[Any, int], None]) -> Prepared:
    _selects(profile)
    member, handle = integer(words[0], "member handle"), integer(words[1], "group handle")

    def run() -> None:
        entity, group = _entity(profile, "group")
        group.CopyFrom(_one(session, profile, "group", handle))
        change(group, member + 1)
        session.client.write(MODIFY, entity)

    return run


@_both("add_member_to_group", "<member handle> <group handle>", 2)
def _add_to_group(session: Session, profile: Any, words: Sequence[str]) -> Prepared:
    weight = 0 if profile.weights_disallowed else 1
    return _change_group(
        session, profile, words, lambda group, member: group.members.add(member_id=member, weight=weight)
    )


@_both("remove_member_from_group", "<member handle> <group handle>", 2)
def _remove_from_group(session: Session, profile: Any, words: Sequence[str]) -> Prepared:
    def change(group: Any, member: int) -> None:
        kept = [each for each in group.members if each.member_id != member]
        if len(kept) == len(group.members):
            there = allowed(each.member_id - 1 for each in group.members)
            raise CommandError(f"group {group.group_id - 1} has no member {member - 1}; {there}")
        del group.members[:]
        group.members.extend(kept)

    return _change_group(session, profile, words, change)


def _member_text(session: Session, handle: int, member: Any) -> str:
    return f"Dumping member {handle}\n{call_text(session.names, member.action)}"


def _group_text(handle: int, group: Any) -> str:
    return f"Dumping group {handle}\nMembers: [{', '.join(str(each.member_id - 1) for each in group.members)}]"


@command("act_prof_dump_member <action profile> <member handle>", 2)
def _dump_member(session: Session, words: Sequence[str]) -> Prepared:
    profile, handle = _profile(session, words[0]), integer(words[1], "member handle")
    return lambda: session.say(_member_text(session, handle, _one(session, profile, "member", handle)))


@command("act_prof_dump_group <action profile> <group handle>", 2)
def _dump_group(session: Session, words: Sequence[str]) -> Prepared:
    profile, handle = _profile(session, words[0]), integer(words[1], "group handle")
    _selects(profile)
    return lambda: session.say(_group_text(handle, _one(session, profile, "group", handle)))


@command("act_prof_dump <action profile>", 1)
def _dump(session: Session, words: Sequence[str]) -> Prepared:
    profile = _profile(session, words[0])

    def run() -> None:
        session.say("==========\nMEMBERS")
        for handle, member in sorted(_read(session, profile, "member").items()):
            session.say("**********\n" + _member_text(session, handle, member))
        if profile.with_selector:
            session.say("==========\nGROUPS")
            for handle, group in sorted(_read(session, profile, "group").items()):
                session.say("**********\n" + _group_text(handle, group))

    return run
