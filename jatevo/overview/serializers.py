"""The shapes of /v1/summary and /v1/incidents."""

from rest_framework import serializers

from jatevo.overview import definitions
from jatevo.overview.models import Incident, IncidentKind, IncidentState, IncidentUpdate, Severity
from jatevo.web.figures import Knowledge


class RegionLatencyAnswer(serializers.Serializer):
    region = serializers.CharField(source="name")
    p95_ms = serializers.FloatField(allow_null=True)
    nodes = serializers.IntegerField(help_text="active ones")


class FigureState(serializers.Serializer):
    """The state of a figure. `stale` is the last good value while its source does not answer."""

    state = serializers.ChoiceField(choices=[knowledge.value for knowledge in Knowledge])
    as_of = serializers.DateTimeField(help_text="the time for which the figure is computed")
    reason = serializers.CharField(help_text="why the figure is not fresh; empty if it is")


class FigureStates(serializers.Serializer):
    active_nodes = FigureState()
    p95_global = FigureState(help_text="also of p95_by_region")
    models_cached = FigureState()
    requests_24h = FigureState()


class Summary(serializers.Serializer):
    """The network's figures. An unknown figure is null, never 0."""

    active_nodes = serializers.IntegerField(allow_null=True, help_text=definitions.ACTIVE_NODES.sentence)
    p95_global = serializers.FloatField(
        allow_null=True, help_text=f"Milliseconds. {definitions.P95_GLOBAL.sentence}"
    )
    p95_by_region = RegionLatencyAnswer(
        many=True, help_text=f"Milliseconds. {definitions.P95_BY_REGION.sentence}"
    )
    models_cached = serializers.IntegerField(allow_null=True, help_text=definitions.MODELS_CACHED.sentence)
    requests_24h = serializers.IntegerField(allow_null=True, help_text=definitions.REQUESTS_24H.sentence)
    as_of = serializers.DateTimeField(help_text="the age of the oldest figure")
    states = FigureStates(help_text="whether each figure is known, unknown or stale, with its own time")


class UpdateLine(serializers.ModelSerializer):
    state = serializers.ChoiceField(choices=IncidentState.choices)

    class Meta:
        model = IncidentUpdate
        fields = ["at", "state", "text"]


class IncidentLine(serializers.ModelSerializer):
    """It lasts from `starts_at` to `resolved_at`; maintenance without one ends as planned, at `ends_at`."""

    kind = serializers.ChoiceField(choices=IncidentKind.choices)
    severity = serializers.ChoiceField(choices=Severity.choices)
    region = serializers.CharField(help_text="empty: the whole network")
    ends_at = serializers.DateTimeField(
        allow_null=True, help_text="the planned end of maintenance, and its end while `resolved_at` is null"
    )
    changed_at = serializers.DateTimeField(help_text="when any of this last changed")
    exempts_nodes = serializers.BooleanField(help_text="nodes of the region lose no reputation for this time")
    updates = UpdateLine(many=True, read_only=True)

    class Meta:
        model = Incident
        fields = [
            "id", "kind", "severity", "title", "description", "region", "created_at", "changed_at", "starts_at",
            "ends_at", "resolved_at", "exempts_nodes", "updates",
        ]  # fmt: skip
