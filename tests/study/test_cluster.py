"""A real Ray on this machine: `ray start --head`, a second node with `ray start --address`, which is killed on the way."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fewbits.errors import FewbitsError
from fewbits.evaluate.settings import Settings
from fewbits.study import cluster
from fewbits.study import plain as plain_data
from fewbits.study.items import Item
from fewbits.study.run import run
from tests.study import folders

GIB = 1 << 30


def item(**changes: object) -> Item:
    return replace(Item(kind="row", key="k", model="m", source="m", label="l", settings=Settings()), **changes)  # type: ignore[arg-type]


def test_what_no_node_can_take_is_told() -> None:
    node = {"memory": 4.0 * GIB, "CPU": 2.0}
    assert cluster._too_large(item(nbytes=3 * GIB), node, 2) is None
    assert "needs about 8.0 GiB, the largest node of the cluster offers 4.0" in str(
        cluster._too_large(item(nbytes=8 * GIB), node, 2)
    )
    assert "no node of the cluster has one" in str(cluster._too_large(item(settings=Settings(device="cuda")), node, 2))
    assert cluster._too_large(item(settings=Settings(device="cuda")), {**node, "GPU": 1.0}, 2) is None
    assert "takes 3 threads" in str(cluster._too_large(item(), node, 3))


def test_without_ray_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FewbitsError, match=r"pip install 'fewbits\[ray\]'"):
        cluster.ray("auto", 1)


class Nodes:
    """Nodes of one cluster, each a process with children of its own; only these are ever ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.started: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *how: str) -> subprocess.Popen[bytes]:
        """A node of one CPU that is up."""
        ray = Path(sys.executable).with_name("ray")
        command = [ray, "start", "--block", "--num-cpus=1", f"--memory={4 * GIB}", "--object-store-memory=100000000"]
        log = (self.folder / f"node{len(self.started)}.log").open("wb")
        node = subprocess.Popen([*command, "--disable-usage-stats", *how], stdout=log, stderr=subprocess.STDOUT)
        self.started.append(node)
        for _ in range(240):
            text = (self.folder / f"node{len(self.started) - 1}.log").read_text()
            if "Ray runtime started" in text:
                return node
            assert node.poll() is None, text
            time.sleep(0.5)
        raise AssertionError("the node did not come up")

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """With -9, and all that it started."""
        if node.poll() is None:
            children = psutil.Process(node.pid).children(recursive=True)
            node.kill()
            for child in children:
                if child.is_running():
                    child.kill()
        node.wait()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    ray = pytest.importorskip("ray", reason="needs ray: pip install 'fewbits[ray]'")
    made = Nodes(tmp_path)
    yield made
    ray.shutdown()
    for node in reversed(made.started):
        made.kill(node)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_a_killed_node_changes_no_result(nodes: Nodes, tmp_path: Path) -> None:
    spec = folders.spec(tmp_path)
    nodes.start("--head", f"--port={nodes.port}", "--include-dashboard=false", f"--temp-dir=/tmp/ray-{nodes.port}")
    second = nodes.start(f"--address={nodes.address}")
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line.split()[0])
        if told[-1] == "2/10":  # both nodes are at work
            nodes.kill(second)

    found = run(spec, tmp_path / "cluster", execute=cluster.ray(nodes.address, 1), workers=2, tell=tell)
    assert second.poll() is not None
    assert [word for word in told if word.endswith("/10")] == [f"{n}/10" for n in range(1, 11)]
    here = run(spec, tmp_path / "here")
    plain = [folders.untimed(json.loads(json.dumps(plain_data.to_dict(each)))) for each in (found, here)]
    assert plain[0] == plain[1]


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_no_cluster_answers() -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'fewbits[ray]'")
    with pytest.raises(FewbitsError, match="no cluster answers"):
        cluster.ray("127.0.0.1:1", 1)
