"""A dissector of ESA packets for Wireshark and tshark, in Lua, made from the table in `esa.wire`.

    Path("esa.lua").write_text(dissector())     # tshark -X lua_script:esa.lua -r capture.pcap

Wireshark itself knows what is around the header: Ethernet, IPv4, UDP, and VXLAN where hosts sit on several machines.
Nothing of the packet is written down here, so the dissector has every field, kind and flag that there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from esa import wire

PLUGINS = Path(".local/lib/wireshark/plugins")  # in the user's home: Wireshark's personal Lua plugins
FILE = "esa.lua"

_HEAD = """\
-- ESA packets in Wireshark and tshark: made from esa/wire.py by `esa wireshark`; do not edit.
local esa = Proto("esa", "ESA in-network aggregation")
"""

_BODY = """\
local f_lanes = ProtoField.uint16("esa.lanes", "Lanes", base.DEC)
local f_lane = ProtoField.int32("esa.lane", "Lane", base.DEC)
local malformed = ProtoExpert.new("esa.malformed", "no ESA packet", expert.group.MALFORMED, expert.severity.ERROR)
table.insert(fields, f_lanes)
table.insert(fields, f_lane)
esa.fields = fields
esa.experts = {{malformed}}

local function flags_text(value)
  local names = {{}}
  for _, flag in ipairs(flags) do
    if math.floor(value / flag[1]) % 2 == 1 then table.insert(names, flag[2]) end
  end
  return table.concat(names, " ")
end

function esa.dissector(tvb, pinfo, tree)
  pinfo.cols.protocol = "ESA"
  local subtree = tree:add(esa, tvb())
  if tvb:len() < {header} then
    subtree:add_proto_expert_info(malformed, tvb:len() .. " bytes; an ESA header has {header}")
    return tvb:len()
  end
  local version = math.floor(tvb(0, 1):uint() / 16)
  if version ~= {version} then
    subtree:add_proto_expert_info(malformed, "version " .. version .. "; there is {version}")
    return tvb:len()
  end
  if (tvb:reported_len() - {header}) % 4 ~= 0 then
    subtree:add_proto_expert_info(malformed, "lanes have 4 bytes each; here are " .. tvb:reported_len() - {header})
  end
{header_items}
  local lanes = math.floor((tvb:len() - {header}) / 4)
  if lanes > 0 then
    local of_lanes = subtree:add(f_lanes, tvb({header}, 4 * lanes), lanes)
    for lane = 0, lanes - 1 do
      of_lanes:add(f_lane, tvb({header} + 4 * lane, 4)):prepend_text("[" .. lane .. "] ")
    end
  end
  local kind = kinds[tvb(0, 1):uint() % 16] or "unknown kind"
  local text = kind .. " job " .. tvb({job}, 2):uint() .. " epoch " .. tvb({epoch}, 2):uint()
    .. " seq " .. tvb({seq}, 4):uint()
  local set = flags_text(tvb({flags}, 1):uint())
  if set ~= "" then text = text .. " [" .. set .. "]" end
  pinfo.cols.info = text
  subtree:append_text(", " .. text)
  return tvb:len()
end

DissectorTable.get("udp.port"):add({port}, esa)
"""


def dissector() -> str:
    """Return the dissector's text: filters `esa.FIELD` as in the header, `esa.flags.FLAG`, `esa.lanes`, `esa.lane`."""
    at = {field.name: bit // 8 for field, bit in _with_bits()}
    body = _BODY.format(
        header=wire.HEADER_BYTES,
        version=wire.VERSION,
        port=wire.ESA_PORT,
        header_items="\n".join(_items()),
        **{name: at[name] for name in ("flags", "job", "epoch", "seq")},
    )
    return "\n".join([_HEAD, *_names(), "", *_declarations(), body])


def install(folder: Path | None = None) -> Path:
    """Write it where Wireshark looks for it, by default for this user alone; return the file. OSError."""
    path = (Path.home() / PLUGINS if folder is None else folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dissector())
    return path


def _with_bits() -> Iterator[tuple[wire.Field, int]]:
    """Every field and the bit of the header that it begins with."""
    bit = 0
    for field in wire.FIELDS:
        yield field, bit
        bit += field.bits


def _names() -> Iterator[str]:
    kinds = ", ".join(f'[{kind.value}] = "{kind.name}"' for kind in wire.Kind)
    flags = ", ".join(f'{{{flag.value}, "{flag.name}"}}' for flag in wire.Flag)
    yield f"local kinds = {{{kinds}}}"
    yield f"local flags = {{{flags}}}"


def _declarations() -> Iterator[str]:
    yield "local fields = {}"
    for field, bit in _with_bits():
        name, shown = f"esa.{field.name}", field.name.capitalize()
        kind = f"{'' if field.signed else 'u'}int{max(8, field.bits)}"
        base = "base.HEX" if field.name in ("flags", "index") or field.name.startswith("bitmap") else "base.DEC"
        values = "kinds" if field.name == "kind" else "nil"
        mask = f", 0x{((1 << field.bits) - 1) << (8 - field.bits - bit % 8):02x}" if field.bits < 8 else ""
        yield f'fields.{field.name} = ProtoField.{kind}("{name}", "{shown}", {base}, {values}{mask})'
    for flag in wire.Flag:
        name = str(flag.name)
        lower = name.lower()
        yield f'fields.flag_{lower} = ProtoField.bool("esa.flags.{lower}", "{name}", 8, nil, 0x{flag:02x})'


def _items() -> Iterator[str]:
    for field, bit in _with_bits():
        where = f"tvb({bit // 8}, {max(1, field.bits // 8)})"
        if field.name != "flags":
            yield f"  subtree:add(fields.{field.name}, {where})"
            continue
        yield f"  local of_flags = subtree:add(fields.flags, {where})"
        for flag in wire.Flag:
            yield f"  of_flags:add(fields.flag_{str(flag.name).lower()}, {where})"
