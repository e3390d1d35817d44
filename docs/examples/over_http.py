"""A search engineer: documents in, explained hybrid search out, over HTTP.

PRISMA_URL=http://127.0.0.1:8080 python docs/examples/over_http.py documents.jsonl "heart failure"
"""

import os
import sys
import time
from pathlib import Path

import httpx

http = httpx.Client(base_url=f"{os.environ['PRISMA_URL']}/v1/", timeout=60)


def get(path):
    return http.get(path).raise_for_status().json()


def post(path, **options):
    return http.post(path, **options).raise_for_status().json()


def finish(job):
    while job["state"] not in ("STATE_SUCCEEDED", "STATE_FAILED", "STATE_CANCELLED"):
        time.sleep(0.2)
        job = get(job["name"])
    assert job["state"] == "STATE_SUCCEEDED", job


dataset = post("datasets", json={"displayName": "Documents"})["name"]
post(f"{dataset}/documents:import", content=Path(sys.argv[1]).read_bytes())
finish(post(f"{dataset}:embed"))
run = post("runs", json={"dataset": dataset, "config": {"auto": True}})["name"]
finish(post(f"{run}:train"))
finish(post(f"{run}/features:label"))
while not get(f"{dataset}/indexStatus").get("current"):
    time.sleep(0.2)
for hit in post(f"{dataset}/documents:search", json={"query": sys.argv[2], "run": run, "pageSize": 5})["hits"]:
    print(f"{hit['score']:.3f}", hit["key"], [feature.get("label") for feature in hit.get("sharedFeatures", [])])
