"""What the tutorials expect of a machine and this one may lack: sudo, PI's temporary messages, `esa-switch-grpc`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_SUDO = '#!/bin/sh\nexec env "$@"\n'
_SWITCH = '#!/bin/sh\nexec {python} -m esa.switch "$@"\n'
# p4runtime's modules as today's protobuf takes them, and `p4.tmp`, which no package has.
_P4 = """\
import sys
from pathlib import Path
__path__ = [__path__[0], *(str(Path(each) / "p4") for each in sys.path if each.endswith("-packages"))]
import esa.p4runtime
"""
_P4CONFIG = """\
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import builder
field = descriptor_pb2.FieldDescriptorProto
file = descriptor_pb2.FileDescriptorProto(name="p4/tmp/p4config.proto", package="p4.tmp", syntax="proto3")
message = file.message_type.add(name="P4DeviceConfig")
message.field.add(name="reassign", number=1, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
message.field.add(name="device_data", number=3, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
described = descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
builder.BuildMessageAndEnumDescriptors(described, globals())
builder.BuildTopDescriptorsAndMessages(described, __name__, globals())
"""


def environment(work: Path, root: Path) -> dict[str, str]:
    """The environment for `make run`: programs and modules in `work` come first, this source tree's `esa` next."""
    programs, modules = work / "bin", work / "modules"
    for name, text in (("sudo", _SUDO), ("esa-switch-grpc", _SWITCH.format(python=sys.executable))):
        programs.mkdir(parents=True, exist_ok=True)
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (programs / "python3").unlink(missing_ok=True)
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    (modules / "p4" / "tmp").mkdir(parents=True, exist_ok=True)
    (modules / "p4" / "__init__.py").write_text(_P4)
    (modules / "p4" / "tmp" / "__init__.py").write_text("")
    (modules / "p4" / "tmp" / "p4config_pb2.py").write_text(_P4CONFIG)
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{modules}:{root}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }
