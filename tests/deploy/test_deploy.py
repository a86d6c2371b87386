"""The deployment files parse and agree with each other and with the package."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KINDS = ("PersistentVolumeClaim", "RayJob")


def test_compose_and_kubernetes_parse_and_name_what_exists() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in compose["services"].values():
        if build := service.get("build"):
            assert (DEPLOY / build["context"] / build["dockerfile"]).resolve().is_file()
    assert compose["services"]["engine-gpu"]["profiles"] == ["gpu"]
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert {d["kind"] for d in documents} >= {"Deployment", "Service", "PersistentVolumeClaim"}
    assert yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"]


def test_images_copy_every_package_and_run_as_a_user() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tops = {
        name.rstrip("*") for name in packages["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in ("Dockerfile", "Dockerfile.cuda"):
        text = (DEPLOY / name).read_text()
        for top in tops:
            assert f"COPY {top} {top}" in text
            assert f"!{top}" in ignored
        assert "\nUSER dejavu\n" in text
        assert "\nHEALTHCHECK " in text
        assert text.index("COPY pyproject.toml") < text.index("COPY engine")


def test_nodes_of_a_cluster_are_of_the_image_with_ray_and_share_the_store() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    services = yaml.safe_load((DEPLOY / "ray.yaml").read_text())["services"]
    head, worker = services["head"], services["worker"]
    assert "--head" in head["entrypoint"]
    assert f"--address=head:{6379}" in worker["entrypoint"]
    assert "--port=6379" in head["entrypoint"]
    assert "--num-cpus=0" in head["entrypoint"]  # the driver is there, and decodes nothing
    assert head["volumes"] == worker["volumes"]
    chosen = head["build"]["args"]["EXTRAS"].split()
    assert {"ray", "s3"} == set(chosen) <= set(project["optional-dependencies"])
    documents = list(yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text()))
    claim, job = (next(d for d in documents if d["kind"] == kind) for kind in KINDS)
    spec = job["spec"]["rayClusterSpec"]
    pinned = (ROOT / "constraints.txt").read_text()
    assert f"\nray=={spec['rayVersion']}\n" in pinned
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        assert pod["containers"][0]["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
        named = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
        assert named == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert job["spec"]["entrypoint"].startswith("dejavu-engine ingest --ray auto --data /data ")
