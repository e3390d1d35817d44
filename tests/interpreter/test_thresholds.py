"""Below its threshold a feature is not named, and is counted only on request."""

from __future__ import annotations

from services.interpreter import messages
from services.interpreter.analyzer import Analysis
from tests.interpreter.planted_run import PlantedRun

FERRY, TUNNEL = 0, 1


def planted_run() -> PlantedRun:
    """Every activation is 1: above the first feature's threshold, below the second's."""
    return PlantedRun(["ferry", "tunnel"], ["ferry", "tunnel", *["none"] * 20], thresholds={FERRY: 1.0, TUNNEL: 1.5})


async def test_the_analyzer_lists_features_below_their_threshold_but_names_them_only_on_request() -> None:
    run = planted_run()
    text = "ferry and tunnel"
    encoded = await run.encode_text(run.run, text)
    analysis = Analysis(run=run.run, encoded=encoded, features=run.features, text=text)
    ferry, tunnel = messages.analysis(analysis).features
    assert (ferry.label, ferry.tail, ferry.HasField("score")) == ("ferry", False, True)
    assert (tunnel.label, tunnel.tail, tunnel.HasField("score")) == ("", True, False)
    assert tunnel.activation == 1
    named = messages.analysis(analysis, name_tail=True).features[TUNNEL]
    assert (named.label, named.tail, named.HasField("score")) == ("tunnel", True, True)
