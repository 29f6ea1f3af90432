"""The Helm chart: linted strictly, rendered with four sets of values, each manifest held against the schemas of Kubernetes.

Helm and the schemas are large: ``make chart`` installs them into the environment, and runs these tests.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from infra.settings import setting_names

helm = pytest.importorskip("helm_python", reason="Helm is not there: make chart")
validate = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas are not there: make chart")

CHART = Path(__file__).parents[2] / "infra" / "deploy" / "chart"
SETS = {"as it comes": {}} | {file.stem: yaml.safe_load(file.read_text()) for file in sorted((CHART / "sets").glob("*.yaml"))}
VERSIONS = ("1.30", "1.34", "1.37")
OF_OTHERS = {"ServiceMonitor", "PrometheusRule"}  # Prometheus' operator brings their schemas


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(CHART) as chart:
        found = chart.render(values=values, name="shop", namespace="attune")
    return [one for path, text in found.items() if path.endswith(".yaml") for one in yaml.safe_load_all(text) if one]


def containers(manifests: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Pods with their containers."""
    for one in manifests:
        if one["kind"] in ("Deployment", "Job"):
            pod = one["spec"]["template"]["spec"]
            yield from ((pod, container) for container in pod["containers"])


def test_it_is_linted_strictly_with_each_set() -> None:
    for values in SETS.values():
        found = helm.lint(CHART, values=values, strict=True)
        assert found["total_charts_linted"] == 1
        assert found["errors"] == []
        assert [one for one in found["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SETS)
def test_manifests_are_those_of_kubernetes(name: str, version: str) -> None:
    manifests = rendered(SETS[name])
    assert {one["kind"] for one in manifests} >= {"Deployment", "Service", "PodDisruptionBudget"}
    for one in manifests:
        if one["kind"] not in OF_OTHERS:
            validate.validate(one, version, strict=True)


def test_the_schemas_refuse_what_kubernetes_would() -> None:
    service = next(one for one in rendered({}) if one["kind"] == "Service")
    service["spec"]["prots"] = service["spec"].pop("ports")
    with pytest.raises(validate.ValidationError):
        validate.validate(service, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", SETS)
def test_no_pod_may_more_than_it_needs(name: str) -> None:
    found = list(containers(rendered(SETS[name])))
    assert found
    for pod, container in found:
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert {one["name"] for one in container["env"] if one["name"].startswith("ATTUNE_")} <= set(setting_names())


def test_the_scale_profile_takes_its_secret_from_outside_and_migrates_first() -> None:
    manifests = rendered(SETS["scale"])
    assert all(container["envFrom"] == [{"secretRef": {"name": "attune-urls"}}] for _, container in containers(manifests))
    (job,) = (one for one in manifests if one["kind"] == "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert not any(one["kind"] == "Secret" for one in manifests)


@pytest.mark.parametrize(
    "values",
    [
        {"profile": "scale"},
        {"service": {"replicas": 2}},
        {"settings": {"OTHER": "1"}},
        {"home": {"size": "lots"}},
        {"replicas": 3},
    ],
)
def test_values_that_cannot_work_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError):
        rendered(values)


def test_alerts_and_dashboards_come_along_whole() -> None:
    manifests = rendered(SETS["watched"])
    (rule,) = (one for one in manifests if one["kind"] == "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "monitoring" / "alerts.yaml").read_text())
    (boards,) = (one for one in manifests if one["kind"] == "ConfigMap")
    assert len(boards["data"]) == 4
