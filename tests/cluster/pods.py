"""The pods of a rendered chart without a cluster: each in a network namespace with a root file system of its own.

What Kubernetes does and the chart relies on is done here as kubelet and the cluster's DNS do it: commands,
environments, volumes, user, read-only root, network policies (by nftables), probes, names of headless Services, preStop
and grace periods. The checkout and its virtual environment stand for the images. Needs root, iproute2, nftables and
dnsmasq.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.children import tied
from tests.cluster.helm import ROOT, Release, component_of

USER = 10001
NODE, OUTSIDE, PROXY = 1, 2, 3
"""Last parts of the addresses of the node, of servers outside the cluster, and of what forwards to the gateway."""
COMPONENTS = ("node", "embedder", "trainer", "interpreter", "search", "gateway", "nats", "migration")
"""The pods of a component have a network of 256 addresses: its place here."""
START_SECONDS = 300
"""A bound for a busy machine."""
_PROGRAMS = ("ip", "nft", "dnsmasq", "setpriv", "unshare", "nsenter")


def missing_programs() -> list[str]:
    """What this machine lacks to run pods; empty where it can."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    return missing if os.geteuid() == 0 else [*missing, "root"]


def run(*words: str | Path, input: str | None = None) -> None:
    """Runs a command that must succeed."""
    result = subprocess.run([*map(str, words)], capture_output=True, text=True, input=input, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {result.stderr}")


def wait_for_name_server(address: str, process: subprocess.Popen[bytes]) -> None:
    """Returns once it listens, so that signals reach it as a server."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((address, 53)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("dnsmasq has ended: see dns.log")


class Network:
    """A bridge in a namespace of its own, on which each pod and this process (the node) have an address; and DNS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"prisma{os.getpid()}"
        self.base = self._free_network()
        self.hosts = folder / "hosts"
        self.hosts.write_text("")
        self._number = itertools.count(10)
        self._dns: subprocess.Popen[bytes] | None = None

    @staticmethod
    def _free_network() -> str:
        """The beginning of the addresses of a network of 4,096, in those that are reserved for tests of networks."""
        used = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=True).stdout
        return next(f"198.{second}." for second in (18, 19) if f" 198.{second}." not in used)

    def address(self, component: str, host: int) -> str:
        return f"{self.base}{COMPONENTS.index(component)}.{host}"

    def next_address(self, component: str) -> str:
        return self.address(component, next(self._number) % 240 + 10)

    def network(self, component: str) -> str:
        return f"{self.base}{COMPONENTS.index(component)}.0/24"

    def start(self) -> None:
        bridge = f"{self.prefix}-net"
        run("ip", "netns", "add", bridge)
        run("ip", "-n", bridge, "link", "add", "pods", "type", "bridge")
        run("ip", "-n", bridge, "link", "set", "pods", "up")
        link = f"pn{os.getpid()}"
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "node", "netns", bridge)
        run("ip", "-n", bridge, "link", "set", "node", "master", "pods", "up")
        for host in (NODE, OUTSIDE, PROXY):
            run("ip", "addr", "add", f"{self.address('node', host)}/16", "dev", link)
        run("ip", "link", "set", link, "up")
        options = [
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--user=root",
            "--pid-file=",
        ]
        options += ["--conf-file=/dev/null", f"--listen-address={self.address('node', NODE)}", "--except-interface=lo"]
        # As CoreDNS: clients may use what they know for five seconds.
        options += [f"--addn-hosts={self.hosts}", "--local-ttl=5", "--local=//", "--cache-size=0"]
        with (self.folder / "dns.log").open("ab") as log:
            self._dns = subprocess.Popen(tied("dnsmasq", *options), stdout=log, stderr=log)
        wait_for_name_server(self.address("node", NODE), self._dns)

    def publish(self, names: Mapping[str, Sequence[str]]) -> None:
        """Makes DNS answer with these addresses, and with no others."""
        text = "".join(f"{address} {name}\n" for name, addresses in names.items() for address in addresses)
        temporary = self.hosts.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self.hosts)
        assert self._dns is not None
        self._dns.send_signal(signal.SIGHUP)

    def join(self, namespace: str, address: str) -> None:
        """Creates a namespace with an address."""
        run("ip", "netns", "add", namespace)
        bridge, port = f"{self.prefix}-net", f"v{address.replace('.', 'x')}"[:15]
        run("ip", "-n", bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run("ip", "-n", bridge, "link", "set", port, "master", "pods", "up")
        run("ip", "-n", namespace, "addr", "add", f"{address}/16", "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        run("ip", "-n", namespace, "link", "set", "lo", "up")

    def stop(self) -> None:
        if self._dns is not None:
            self._dns.kill()
            self._dns.wait()
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            if line.startswith(f"{self.prefix}-"):
                run("ip", "netns", "del", line.split()[0])
        with suppress(RuntimeError):  # gone with its other end
            run("ip", "link", "del", f"pn{os.getpid()}")


def rules(release: Release, labels: Mapping[str, str], network: Network) -> str:
    """The nftables rules of the network policies that select a pod with these labels."""
    lines = ["add table inet restricted"]
    for direction, hook, own, peer in (
        ("ingress", "input", "from", "ip saddr"),
        ("egress", "output", "to", "ip daddr"),
    ):
        chain = f"inet restricted {direction}"
        lines.append(f"add chain {chain} {{ type filter hook {hook} priority 0; policy accept; }}")
        policies = [
            policy["spec"]
            for policy in release.of_kind("NetworkPolicy")
            if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
            and direction.title() in policy["spec"]["policyTypes"]
        ]
        if not policies:
            continue
        device = "iif" if direction == "ingress" else "oif"
        lines.append(f"add rule {chain} ct state established,related accept")
        lines.append(f"add rule {chain} {device} lo accept")
        if direction == "ingress":  # a node always reaches its pods
            lines.append(f"add rule {chain} ip saddr {network.address('node', NODE)} accept")
        for rule in itertools.chain.from_iterable(policy.get(direction) or () for policy in policies):
            for peers, ports in itertools.product(_peers(rule.get(own), peer, network), _ports(rule.get("ports"))):
                lines.append(f"add rule {chain} {peers} {ports} accept")
        lines.append(f"add rule {chain} counter drop")
    return "\n".join(lines) + "\n"


def _peers(peers: Sequence[dict[str, Any]] | None, match: str, network: Network) -> Iterator[str]:
    if peers is None:
        yield ""
    for peer in peers or ():
        if "podSelector" in peer:
            yield f"{match} {network.network(component_of(peer['podSelector']['matchLabels']))}"
        elif "ipBlock" in peer:
            yield f"{match} {peer['ipBlock']['cidr']}"


def _ports(ports: Sequence[dict[str, Any]] | None) -> Iterator[str]:
    if ports is None:
        yield ""
    for port in ports or ():
        yield f"{port.get('protocol', 'TCP').lower()} dport {port['port']}"


def root_file_system(folder: Path, name: str, address: str) -> list[str]:
    """The commands that make `folder/root` a container's file system and go there; it has `folder/resolv.conf`."""
    root = folder / "root"
    lines = ["mount --make-rprivate /", f"mount -t tmpfs -o mode=755 root {root}", f"cd {root}"]
    for link in ("bin", "lib", "lib64", "sbin"):
        lines.append(f"if [ -L /{link} ]; then cp -P /{link} .; else mkdir {link}; mount --rbind /{link} {link}; fi")
    binds = {"/usr": "/usr", "/proc": "/proc", "/dev": "/dev", sys.base_prefix: sys.base_prefix}
    binds |= {str(Path(sys.prefix)): "/opt/prisma", str(ROOT): "/src"}
    for source, target in binds.items():
        if not target.startswith("/usr/"):
            lines += [f"mkdir -p .{target}", f"mount --rbind {source} .{target}"]
    lines += ["mkdir -p etc dev/shm", "for file in passwd group ssl nsswitch.conf ld.so.cache ld.so.conf; do"]
    lines += ["  [ ! -e /etc/$file ] || cp -rL /etc/$file etc/", "done"]
    lines += [f"cp {folder}/resolv.conf etc/", "echo '127.0.0.1 localhost' > etc/hosts"]
    return [*lines, f"echo '{address} {name}' >> etc/hosts"]


def restricted(root: Path, environment: Mapping[str, str], command: Sequence[str]) -> str:
    """The command that becomes a container's process: another user, without capabilities, in `root`."""
    identity = f"--reuid {USER} --regid {USER} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all"
    variables = " ".join(f"'{name}={value}'" for name, value in environment.items())
    words = " ".join(f"'{word}'" for word in command)
    return f"exec chroot {root} /usr/bin/setpriv --pdeathsig KILL {identity} /usr/bin/env -i -C / {variables} {words}"


@dataclass
class Pod:
    """A pod: its container's process, and what its probes said last. Containers are one to a pod in this chart."""

    name: str
    template: dict[str, Any]
    address: str
    namespace: str
    folder: Path
    restarts: int = 0
    ready: bool = False
    status: int | None = None
    """Exit status, after it has ended."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def component(self) -> str:
        return component_of(self.template["metadata"]["labels"])

    @property
    def container(self) -> dict[str, Any]:
        (container,) = self.template["spec"]["containers"]
        return container

    @property
    def log(self) -> Path:
        return self.folder / "log"


class Cluster:
    """Runs the pods of a release.

    secrets: the operator's Secrets, by name. outside: servers outside the cluster: their name in DNS. caches: folders
    that are copied into the volume `data` of a component's pods, as an image could bring them.
    """

    def __init__(self, folder: Path, *, secrets: Mapping[str, Mapping[str, str]], caches: Mapping[str, Path]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.network = Network(folder)
        self.pods: list[Pod] = []
        self.outside: list[str] = []
        self._secrets = secrets
        self._caches = caches
        self._release = Release()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(max_workers=64)
        self._serial = itertools.count()

    def apply(self, release: Release) -> None:
        """Takes the objects that pods are started from."""
        self._release = release

    def start(self) -> None:
        self.network.start()
        self._publish()

    def stop(self) -> None:
        self._stopping.set()
        for pod in self.pods:
            if pod.process is not None and pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait()
        self._threads.shutdown(wait=True)
        self.network.stop()

    def run_job(self, job: dict[str, Any]) -> Pod:
        """Runs a Job's pod to its end."""
        pod = self._create(job["metadata"]["name"], job["spec"]["template"], {})
        self._launch(pod)
        assert pod.process is not None
        pod.status = pod.process.wait(START_SECONDS)
        return pod

    def start_workload(self, workload: dict[str, Any]) -> list[Pod]:
        """Starts a workload's pods, without waiting for them."""
        return [self.start_pod(workload, number) for number in range(workload["spec"].get("replicas", 1))]

    def start_pod(self, workload: dict[str, Any], number: int) -> Pod:
        name = workload["metadata"]["name"]
        stateful = workload["kind"] == "StatefulSet"
        pod_name = f"{name}-{number}" if stateful else f"{name}-{next(self._serial)}"
        claims = {
            claim["metadata"]["name"]: f"{claim['metadata']['name']}-{pod_name}"
            for claim in workload["spec"].get("volumeClaimTemplates", ())
        }
        pod = self._create(pod_name, workload["spec"]["template"], claims)
        self._launch(pod)
        with self._lock:
            self.pods.append(pod)
        self._threads.submit(self._probe, pod)
        self._publish()
        return pod

    def wait_until_ready(self, *pods: Pod) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not all(pod.ready for pod in pods):
            if time.monotonic() > deadline:
                waiting = {pod.name: (pod.restarts, pod.log.read_text()[-1500:]) for pod in pods if not pod.ready}
                raise TimeoutError(f"not ready: {waiting}")
            time.sleep(0.1)

    def end_pod(self, pod: Pod) -> None:
        """Ends a pod as kubelet does: its address leaves DNS while preStop runs, then SIGTERM and the grace period."""
        with self._lock:
            self.pods.remove(pod)
        self._publish()
        process = pod.process
        assert process is not None
        hook = pod.container.get("lifecycle", {}).get("preStop")
        if hook is not None:
            inside = ["nsenter", f"--root=/proc/{process.pid}/root", f"--setuid={USER}", f"--setgid={USER}"]
            run(*inside, *hook["exec"]["command"])
        process.terminate()
        try:
            pod.status = process.wait(pod.template["spec"]["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            process.kill()
            pod.status = process.wait()

    def replace(self, workload: dict[str, Any]) -> None:
        """A rolling restart of a workload: the next pod starts while an old one ends."""
        name = workload["metadata"]["name"]
        component = component_of(workload["spec"]["template"]["metadata"]["labels"])
        ending: list[Future[None]] = []
        for number, old in enumerate([pod for pod in self.pods if pod.component == component]):
            if workload["kind"] == "StatefulSet":
                self.end_pod(old)
                self.wait_until_ready(self.start_pod(workload, number))
                continue
            strategy = workload["spec"]["strategy"]["rollingUpdate"]
            assert strategy == {"maxSurge": 1, "maxUnavailable": 0}, name
            new = self.start_pod(workload, number)
            self.wait_until_ready(new)
            time.sleep(workload["spec"]["minReadySeconds"])
            assert new.ready, f"{new.name} was ready and is not"
            ending.append(self._threads.submit(self.end_pod, old))
        for end in ending:
            end.result()

    def replace_all(self, workloads: Sequence[dict[str, Any]]) -> None:
        """Rolling restarts of several workloads at once, as an upgrade makes them."""
        with ThreadPoolExecutor(len(workloads)) as threads:
            for replaced in [threads.submit(self.replace, workload) for workload in workloads]:
                replaced.result()

    def reaches(self, pod: Pod, other: Pod, port: int) -> bool:
        """Whether a pod can open a connection to a port of another."""
        script = f"import socket; socket.create_connection(('{other.address}', {port}), timeout=2)"
        command = ["nsenter", f"--net=/run/netns/{pod.namespace}", sys.executable, "-c", script]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def ready_addresses(self, component: str) -> list[str]:
        with self._lock:
            return [pod.address for pod in self.pods if pod.ready and pod.component == component]

    def _publish(self) -> None:
        """The names of Services, and of pods of StatefulSets, as the cluster's DNS has them."""
        with self._lock:
            names: dict[str, list[str]] = {name: [self.network.address("node", OUTSIDE)] for name in self.outside}
            for service in self._release.of_kind("Service"):
                name, spec = service["metadata"]["name"], service["spec"]
                for pod in self.pods:
                    if not spec["selector"].items() <= pod.template["metadata"]["labels"].items():
                        continue
                    if pod.ready or spec.get("publishNotReadyAddresses"):
                        names.setdefault(name, []).append(pod.address)
                        names[f"{pod.name}.{name}"] = [pod.address]
            self.network.publish(names)

    def _create(self, name: str, template: dict[str, Any], claims: Mapping[str, str]) -> Pod:
        serial = next(self._serial)
        folder = self.folder / "pods" / f"{name}-{serial}"
        (folder / "root").mkdir(parents=True)
        folder.chmod(0o755)
        (folder / "resolv.conf").write_text(f"nameserver {self.network.address('node', NODE)}\noptions ndots:5\n")
        component = component_of(template["metadata"]["labels"])
        pod = Pod(
            name=name,
            template=template,
            address=self.network.next_address(component),
            namespace=f"{self.network.prefix}-{serial}",
            folder=folder,
        )
        self.network.join(pod.namespace, pod.address)
        labels = template["metadata"]["labels"]
        run("ip", "netns", "exec", pod.namespace, "nft", "-f", "-", input=rules(self._release, labels, self.network))
        (folder / "start").write_text(self._script(pod, claims))
        return pod

    def _launch(self, pod: Pod) -> None:
        command = ["nsenter", f"--net=/run/netns/{pod.namespace}", "unshare", "--mount", "sh", "-eu"]
        with pod.log.open("ab") as log:
            # By a thread that lives as long as the cluster: the process ends with the thread that started it.
            started = self._threads.submit(
                subprocess.Popen, tied(*command, pod.folder / "start"), stdout=log, stderr=log
            )
            pod.process = started.result()

    def _script(self, pod: Pod, claims: Mapping[str, str]) -> str:
        """Builds the container's root file system, and becomes its process."""
        root = pod.folder / "root"
        lines = root_file_system(pod.folder, pod.name, pod.address)
        volumes = {volume["name"]: volume for volume in pod.template["spec"]["volumes"]}
        for mount in pod.container["volumeMounts"]:
            if mount["name"] in claims:
                source = self._owned(self.folder / "claims" / claims[mount["name"]])
            else:
                source = self._volume(pod, volumes[mount["name"]])
            mode = ",ro" if mount.get("readOnly") else ""
            lines += [f"mkdir -p .{mount['mountPath']}", f"mount --bind {source} .{mount['mountPath']}"]
            lines += [f"mount -o remount,bind{mode} .{mount['mountPath']}"] if mode else []
        assert pod.container["securityContext"]["readOnlyRootFilesystem"]
        lines.append(f"mount -o remount,ro {root}")
        return "\n".join([*lines, restricted(root, self._environment(pod), pod.container["command"]), ""])

    def _volume(self, pod: Pod, volume: dict[str, Any]) -> Path:
        """The folder that a volume is."""
        if "persistentVolumeClaim" in volume:
            return self._owned(self.folder / "claims" / volume["persistentVolumeClaim"]["claimName"])
        folder = self._owned(pod.folder / "volumes" / volume["name"])
        if volume["name"] == "data" and (cache := self._caches.get(pod.component)) is not None:
            run("cp", "-rL", cache, folder / ".cache")
            run("chown", "-R", f"{USER}:{USER}", folder / ".cache")
        if "configMap" in volume:
            for name, text in self._release.named("ConfigMap", volume["configMap"]["name"])["data"].items():
                (folder / name).write_text(text)
        if "secret" in volume:
            content = self.secret(volume["secret"]["secretName"])
            for name in [item["key"] for item in volume["secret"].get("items", ())] or content:
                (folder / name).write_text(content[name])
        return folder

    @staticmethod
    def _owned(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, USER, USER)
        for parent in folder.parents[:2]:
            parent.chmod(0o755)
        return folder

    def secret(self, name: str) -> Mapping[str, str]:
        """The content of a Secret, of the operator or of the release."""
        if name in self._secrets:
            return self._secrets[name]
        secret = self._release.named("Secret", name)
        encoded = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
        return {**encoded, **secret.get("stringData", {})}

    def _environment(self, pod: Pod) -> dict[str, str]:
        """What the image and the pod say."""
        # numba's and the operating system's threads sleep while they wait, as in all tests.
        values = {"PATH": "/opt/prisma/bin:/usr/bin:/bin", "PYTHONPATH": "/src:/src/protos/python"}
        values |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "passive"}
        for entry in pod.container.get("env", ()):
            if "value" in entry:
                values[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], entry["value"])
            elif "secretKeyRef" in entry["valueFrom"]:
                reference = entry["valueFrom"]["secretKeyRef"]
                values[entry["name"]] = self.secret(reference["name"])[reference["key"]]
            else:
                assert entry["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
                values[entry["name"]] = pod.name
        return values

    def _probe(self, pod: Pod) -> None:
        """Asks as kubelet does, until the pod ends: startup first, then readiness and liveness."""
        probes = {kind: pod.container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}
        failures = dict.fromkeys(probes, 0)
        due = dict.fromkeys(probes, 0.0)
        started = False
        while not self._stopping.is_set() and pod in self.pods:
            assert pod.process is not None
            if pod.process.poll() is not None:  # restarted, as by the policy Always
                self._set_ready(pod, ready=False)
                started = False
                pod.restarts += 1
                time.sleep(min(1.0 * pod.restarts, 10.0))
                if pod in self.pods:
                    self._launch(pod)
                continue
            for kind in ("liveness", "readiness") if started else ("startup",):
                probe = probes[kind]
                if time.monotonic() < due[kind]:
                    continue
                due[kind] = time.monotonic() + probe.get("periodSeconds", 10)
                succeeded = self.ask(pod, probe)
                failures[kind] = 0 if succeeded else failures[kind] + 1
                failed = failures[kind] >= probe.get("failureThreshold", 3)
                if kind == "startup":
                    started = succeeded
                elif kind == "readiness" and (succeeded or failed):
                    self._set_ready(pod, ready=succeeded)
                elif kind == "liveness" and failed:
                    pod.process.kill()
            time.sleep(0.1)

    def _set_ready(self, pod: Pod, *, ready: bool) -> None:
        if pod.ready != ready:
            pod.ready = ready
            self._publish()

    def ask(self, pod: Pod, probe: dict[str, Any]) -> bool:
        """Whether a probe succeeds."""
        seconds = probe.get("timeoutSeconds", 1)
        ports = {port["name"]: port["containerPort"] for port in pod.container["ports"]}
        where = probe["httpGet"]
        port = ports.get(where["port"], where["port"])
        try:
            return httpx.get(f"http://{pod.address}:{port}{where['path']}", timeout=seconds).status_code < 400
        except httpx.HTTPError:
            return False
