"""The registry's routes as ThemisDB has them, and the client that goes by them."""

from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.system import (
    LEGAL,
    MEDICAL,
    MEDICAL_TEXTS,
    RunningSystem,
    eventually,
)
from tests.unit.streams.registry.factories import write_weights

TOKEN = "a-token-of-the-tests"
VARIABLES = {"LORELAY_ADMIN_TOKEN": TOKEN, "LORELAY_METRICS_WINDOW": "1"}
ADMIN = {"authorization": f"Bearer {TOKEN}"}


def posted(folder: Path, **changes: object) -> dict[str, object]:
    """A registration in flat keys."""
    return {
        "adapter_metadata": {
            "adapter_id": "tax-qa-v1",
            "adapter_version": "1.0.0",
            "base_model_name": "echo",
            "domain": "tax",
            "task_type": "question-answering",
            "adapter_path": str(folder),
            **changes,
        },
        "examples": [{"text": f"Is expense {n} deductible?", "language": "en"} for n in range(8)],
    }


def test_a_client_asks_the_registry_and_then_the_adapter_that_it_chose(
    system: RunningSystem,
) -> None:
    found = httpx.get(
        f"{system.url()}/api/adapters/registry", headers=ADMIN, trust_env=False
    ).json()
    assert found["total"] == len(found["adapters"]) >= 2
    (chosen,) = [entry for entry in found["adapters"] if entry["domain"] == "medical"]
    with system.openai() as client:
        answer = client.completions.create(
            model="mistralai/Mistral-7B-v0.1",
            prompt=MEDICAL_TEXTS[0],
            max_tokens=512,
            temperature=0.7,
            extra_body={"lora_name": chosen["adapter_id"]},
        )
    assert answer.choices[0].text == f"[{MEDICAL}@1.0.0] {MEDICAL_TEXTS[0]}"


@pytest.mark.parametrize("name", [LEGAL, f"{LEGAL}@1.0.0"])
def test_metadata_are_nested_as_in_an_export(system: RunningSystem, name: str) -> None:
    with system.http() as client:
        found = client.get(f"/api/adapters/{name}/metadata").json()
        missing = client.get("/api/adapters/legal-aq-v1/metadata")
    assert found["base_model"]["name"] == "echo"
    assert found["training"]["lora_rank"] == 4
    assert missing.status_code == 404
    assert LEGAL in missing.json()["error"]["message"]


def test_figures_are_those_of_the_metrics_topic(system: RunningSystem) -> None:
    with system.openai() as client:
        for number in range(5):
            client.completions.create(model=LEGAL, prompt=f"number {number}")
    with system.http() as client:

        def counted() -> dict[str, float] | None:
            row: dict[str, float] = client.get(f"/api/adapters/{LEGAL}/metrics").json()
            return row if row["num_requests"] >= 5 else None

        row = eventually(counted, "the figures")
        exact = client.get(f"/api/adapters/{LEGAL}@1.0.0/metrics", params={"seconds": 600}).json()
        refused = client.get(f"/api/adapters/{LEGAL}/metrics", params={"seconds": 601})
    assert row["adapter_id"] == LEGAL
    assert row["avg_latency_ms"] > 0 and row["p95_latency_ms"] > 0
    assert row["error_rate"] == 0
    assert exact["num_requests"] == row["num_requests"]
    assert refused.status_code == 400


def test_what_is_registered_over_http_is_served(system: RunningSystem, tmp_path: Path) -> None:
    write_weights(tmp_path)
    with system.http() as client:
        new = client.post("/api/adapters/register", json=posted(tmp_path), headers=ADMIN)
        again = client.post("/api/adapters/register", json=posted(tmp_path), headers=ADMIN)
        changed = client.post(
            "/api/adapters/register", json=posted(tmp_path, num_samples=7), headers=ADMIN
        )
    assert (new.status_code, new.json()["status"]) == (201, "active"), new.text
    assert (again.status_code, again.json()["result"]) == (200, "same")
    assert changed.status_code == 400
    assert changed.json()["error"]["code"] == "registration_refused"
    with system.openai() as client:
        answer = client.completions.create(model="tax-qa", prompt="Is this deductible?")
    assert answer.choices[0].text == "[tax-qa-v1@1.0.0] Is this deductible?"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
def test_only_the_admin_registers(
    system: RunningSystem, tmp_path: Path, headers: dict[str, str]
) -> None:
    with system.http() as client:
        refused = client.post("/api/adapters/register", json=posted(tmp_path), headers=headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["error"]["code"] == "invalid_api_key"
