"""The deployment files parse and agree with each other and with the package."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


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
