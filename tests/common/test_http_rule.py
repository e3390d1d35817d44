"""HTTP bindings and scopes of all RPCs, addresses and names."""

from __future__ import annotations

import pytest

from prisma_common import addresses, contract, names
from prisma_common.http_rule import PathTemplate, Variable, http_bindings


def test_every_rpc_has_an_http_binding_and_a_scope() -> None:
    for method in contract.methods():
        assert http_bindings(method.GetOptions()), method.full_name
        assert contract.required_scope(method), method.full_name


def test_a_template_is_literal_text_and_variables() -> None:
    template = PathTemplate.parse("/v1/{name=runs/*/features/*}/labels:activate")
    name = Variable("name", ("runs", "*", "features", "*"))
    assert template.parts == ("/v1/", name, "/labels:activate")
    assert template.expand(lambda variable: variable.field) == "/v1/name/labels:activate"
    match = template.regular_expression("[^/]+").fullmatch("/v1/runs/r/features/7/labels:activate")
    assert match
    assert match[1] == "runs/r/features/7"
    assert PathTemplate.parse("/v1/services/{service}/status").variables == (Variable("service", ("*",)),)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("unix:/tmp/socket", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("example.com:1", False),
    ],
)
def test_loopback_is_what_no_other_machine_reaches(address: str, loopback: bool) -> None:
    assert addresses.is_loopback(address) is loopback


def test_an_address_has_a_host_and_a_port() -> None:
    assert addresses.host_and_port("[::1]:80") == ("::1", 80)
    for wrong in ("", "80", ":80", "host", "host:x", "host:70000"):
        with pytest.raises(ValueError, match="expected host:port"):
            addresses.host_and_port(wrong)


def test_names_give_their_variable_segments() -> None:
    pattern = "runs/{run}/features/{index}/labels/{revision}"
    assert names.match(pattern, "runs/r/features/7/labels/3") == ("r", "7", "3")
    for wrong in ("", "runs/r", "runs//features/7/labels/3", "runs/a b/features/7/labels/3", "datasets/r"):
        assert names.match(pattern, wrong) is None
