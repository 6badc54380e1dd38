"""Real GPUs as far as they can be tried without one: on a tree that looks like a host with some."""

from pathlib import Path

import pytest

from kgpud.localcluster.fleet import default_fleet, real_nodes
from kgpud.localcluster.gpus import Driver, Gpu, Share, detect, find_driver, model
from kgpud.localcluster.host_image import lay_out
from kgpud.localcluster.node_object import node_object


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with two H100 and a V100, whose driver lies in /usr/local/nvidia."""
    devices = ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
    for name in (*devices, "nvidia-caps", "null", "nvidia0x"):
        path = tmp_path / "dev" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    said = (
        (0, "NVIDIA H100 80GB HBM3", "GPU-aaaa"),
        (1, "NVIDIA H100 80GB HBM3", "GPU-bbbb"),
        (10, "Tesla V100-SXM2-32GB", "GPU-cccc"),
    )
    for minor, name, identity in said:
        folder = tmp_path / "proc/driver/nvidia/gpus" / f"0000:{minor:02}:00.0"
        folder.mkdir(parents=True)
        text = f"Model: \t\t {name}\nIRQ:   \t\t 42\nGPU UUID: \t {identity}\n"
        (folder / "information").write_text(f"{text}Device Minor: \t {minor}\n")
    for name in ("nvidia/bin", "nvidia/lib64", "cuda-13.0", "bin"):
        (tmp_path / "usr/local" / name).mkdir(parents=True)
    (tmp_path / "usr/local/cuda").symlink_to("cuda-13.0")
    return tmp_path


def test_detection_reads_the_devices_and_what_the_driver_says(host: Path) -> None:
    assert detect(host) == [
        Gpu("NVIDIA H100 80GB HBM3", "GPU-aaaa", Path("/dev/nvidia0")),
        Gpu("NVIDIA H100 80GB HBM3", "GPU-bbbb", Path("/dev/nvidia1")),
        Gpu("Tesla V100-SXM2-32GB", "GPU-cccc", Path("/dev/nvidia10")),
    ]
    controls = (Path("/dev/nvidiactl"), Path("/dev/nvidia-uvm"), Path("/dev/nvidia-uvm-tools"))
    local = Path("/usr/local")
    folders = (local / "nvidia", local / "cuda", local / "cuda-13.0")
    assert find_driver(host) == Driver(controls, folders)


def test_a_device_without_a_word_from_the_driver_is_one_too(tmp_path: Path) -> None:
    assert detect(tmp_path) == []
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia3").touch()
    (found,) = detect(tmp_path)
    assert (found.name, found.device) == ("NVIDIA GPU", Path("/dev/nvidia3"))
    assert found.uuid == detect(tmp_path)[0].uuid
    assert find_driver(tmp_path) == Driver()


def test_each_model_is_a_node_and_is_not_simulated_beside_it(host: Path) -> None:
    nodes = default_fleet(real_nodes(host)).nodes
    names = [node.name for node in nodes]
    assert names[:2] == ["gpu-h100", "gpu-v100"]
    assert "node-v100" not in names
    assert "node-rtx4090" in names
    document = node_object(nodes[0], 1)
    assert document["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert document["metadata"]["labels"]["kgpu.net/gpu-model"] == "h100"
    assert document["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 3080 Ti", "rtx3080ti"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "rtx4070tisuper"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA RTX A6000", "rtxa6000"),
        ("NVIDIA GPU", "gpu"),
        ("", "gpu"),
    ],
)
def test_the_short_name_of_a_model(name: str, short: str) -> None:
    assert model(name) == short


def test_a_pod_has_its_own_devices_the_driver_and_no_simulation(host: Path) -> None:
    (h100, _v100) = real_nodes(host)
    share = h100.share([1])
    assert share.device_mounts() == [
        *("--dev-bind", "/dev/nvidia1", "/dev/nvidia1"),
        *("--dev-bind", "/dev/nvidiactl", "/dev/nvidiactl"),
        *("--dev-bind", "/dev/nvidia-uvm", "/dev/nvidia-uvm"),
        *("--dev-bind", "/dev/nvidia-uvm-tools", "/dev/nvidia-uvm-tools"),
    ]
    env = share.environment({"PATH": "/bin", "A": "b"})
    assert env == {
        "PATH": "/usr/local/nvidia/bin:/bin",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64",
        "A": "b",
    }
    root, usr_local = host / "rootfs", host / "usr-local"
    (root / "etc").mkdir(parents=True)
    mounts = lay_out(root, usr_local, share)
    own = mounts.index("/usr/local")
    assert mounts[own + 1 : own + 4] == ["--ro-bind", "/usr/local/nvidia", "/usr/local/nvidia"]
    assert not (usr_local / "bin/nvidia-smi").exists()


def test_without_a_real_gpu_nothing_of_the_driver_is_mounted(host: Path) -> None:
    (h100, _v100) = real_nodes(host)
    none, all_of_them = h100.share([0, 1]).split(0)
    assert (none.device_mounts(), none.folder_mounts()) == ([], [])
    assert none.environment({"PATH": "/bin"}) == {"PATH": "/bin"}
    assert len(all_of_them.gpus) == 2
    simulated = default_fleet().nodes[0].share([0])
    assert not simulated.is_real
    assert simulated.device_mounts() == []
    assert Share().device_mounts() == []
