"""The stubs and the descriptor set that are checked in are those of the protos, from which other languages generate."""

import filecmp
import os
import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests import golden_messages

ROOT = Path(__file__).parents[1]


def test_generated_files_are_up_to_date(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["deploy/generate-protos", tmp_path], cwd=ROOT, check=True, env=os.environ | {"PATH": path})
    fresh = {file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file()}
    committed = ROOT / "protos/python"
    present = {
        file.relative_to(committed)
        for file in committed.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert present == fresh, "run `make protos`"
    differing = [name for name in sorted(fresh) if not filecmp.cmp(tmp_path / name, committed / name, shallow=False)]
    assert not differing, "run `make protos`"


def files() -> list[FileDescriptorProto]:
    """Our proto files."""
    descriptors = FileDescriptorSet.FromString((ROOT / "protos/python/prisma/prisma.binpb").read_bytes())
    return [file for file in descriptors.file if file.package.startswith("prisma.")]


def test_stubs_of_all_languages_have_packages_of_their_own() -> None:
    """Without these options each client has to give them for every file, and two of them could choose differently."""
    for file in files():
        _, service, version = file.package.split(".")
        capitalised = [part.capitalize() for part in file.package.split(".")]
        options = file.options
        assert options.go_package == f"prisma/{service}/{version};{service}{version}", file.name
        assert options.java_package == f"org.prismasuite.{service}.{version}", file.name
        assert options.java_multiple_files, file.name
        assert options.csharp_namespace == ".".join(capitalised), file.name
        assert options.php_namespace == "\\".join(capitalised), file.name
        assert options.ruby_package == "::".join(capitalised), file.name
        assert options.objc_class_prefix and options.swift_prefix, file.name


def test_no_class_of_java_has_the_name_of_another() -> None:
    for file in files():
        in_package = [other for other in files() if other.package == file.package]
        messages = {message.name for other in in_package for message in [*other.message_type, *other.enum_type]}
        outer = [other.options.java_outer_classname for other in in_package]
        assert len(set(outer)) == len(outer), file.package
        assert not messages & set(outer), file.package


def test_golden_messages_are_what_is_sent_today() -> None:
    """Clients of other languages decode these files. They may be added to; a change of a file breaks clients in use."""
    stored = {file.name: file.read_bytes() for file in golden_messages.FOLDER.iterdir()}
    assert stored == golden_messages.files(), "a change that is meant: python -m tests.golden_messages"
